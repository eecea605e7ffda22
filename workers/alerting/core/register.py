"""The alarms of one line: raised, cleared, covered and told of. Pure; every change is an event.

Flood: more than `FLOOD_ALARMS` in ten minutes. From then on alarms that no operator can act on at once are hidden
behind the flood alarm (SUPPRESSED), and shown again when it is over. What stands behind a stop is never hidden.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from pipeline.events import Act, Alarm, AlarmKind, Operation
from workers.alerting.core import effects
from workers.alerting.core.effects import Effect
from workers.alerting.core.lifecycle import ANDON, Deed, move
from workers.alerting.core.state import CLOCKS_DIFFER, LineState, Standing, shown

FLOOD_WINDOW = timedelta(minutes=10)
FLOOD_ALARMS = 10
FLOOD_OVER = 5
"""Hysteresis: the flood is over when no more than this came in the window."""

_EXPLAIN = (AlarmKind.FLOOD, AlarmKind.COMMON_CAUSE)
_HIDEABLE = frozenset({AlarmKind.CAMERA_SILENT, AlarmKind.DRIFT, AlarmKind.NOT_INSPECTED})

Changed = tuple[LineState, tuple[Effect, ...]]


def add(state: LineState, alarm: Alarm, cameras: tuple[str, ...] = ()) -> Changed:
    """A new alarm. It may be hidden at once, and it may be the one too many."""
    now = alarm.changed_at
    entry = Standing(alarm=alarm, cameras=cameras)
    if _hidden_by(state, alarm):
        life = move(entry.life, Deed(Act.SUPPRESS, ANDON, now))
        entry = Standing(alarm=alarm.model_copy(update=shown(life)), cameras=cameras, suppressed=True)
    is_flood = alarm.kind is AlarmKind.FLOOD
    recent = (*_recent(state.raised_at, now), *(() if is_flood else (now,)))[-4 * FLOOD_ALARMS :]
    state = state.model_copy(update={"raised": state.raised + 1, "raised_at": recent}).with_alarm(entry)
    events: tuple[Effect, ...] = (entry.alarm,)
    if alarm.kind in _EXPLAIN:
        state, more = cover(state, now)
        events = (*events, *more)
    if len(recent) > FLOOD_ALARMS and not is_flood:
        reason = f"{len(recent)} alarms in {FLOOD_WINDOW.seconds // 60} minutes; look for one cause"
        flood = effects.condition(state, AlarmKind.FLOOD, alarm.camera_id, reason, now)
        state, more = see(state, state.standing(AlarmKind.FLOOD), flood)
        events = (*events, *more)
    return state, events


def see(state: LineState, entry: Standing | None, alarm: Alarm, cameras: tuple[str, ...] = ()) -> Changed:
    """What `alarm` would say is so now: of `entry`, where it stands, it is news if its cause was gone."""
    if entry is None:
        return add(state, alarm, cameras)
    return (state, ()) if entry.life.active else again(state, entry, alarm.reason, alarm.changed_at)


def again(state: LineState, entry: Standing, reason: str, now: datetime) -> Changed:
    """The cause is back before the alarm was over."""
    anew = entry.model_copy(update={"good_since": None, "raised_again_at": now})
    return act(state, anew, Deed(Act.RAISE, ANDON, now, reason))


def clear(state: LineState, entry: Standing, reason: str, now: datetime) -> Changed:
    """The cause is gone. Nothing happens where it was known to be gone already."""
    if not entry.life.active:
        return state, ()
    return act(state, entry, Deed(Act.CLEAR, ANDON, now, reason))


def note(state: LineState, entry: Standing, reason: str, now: datetime, operation: Operation | None = None) -> Changed:
    """Says something about an alarm without moving it."""
    alarm = effects.changed(
        entry.alarm,
        Act.NOTE,
        entry.life,
        now,
        actor=operation.actor if operation else ANDON,
        reason=reason,
        operation=operation,
    )
    return state.with_alarm(entry.model_copy(update={"alarm": alarm})), (alarm,)


def act(state: LineState, entry: Standing, deed: Deed, operation: Operation | None = None) -> Changed:
    """Moves one alarm, and what it hides with it. Raises ActRefusedError."""
    life = move(entry.life, deed)
    alarm = effects.changed(
        entry.alarm, deed.act, life, deed.at, actor=deed.actor, reason=deed.reason, operation=operation
    )
    more = {"acknowledged_level": state.level} if deed.act is Act.ACKNOWLEDGE else {}
    state = state.with_alarm(entry.model_copy(update={"alarm": alarm, "suppressed": life.suppressed, **more}))
    # By these two alone: what a person does to an alarm changes no other, of which the caller may hold the last form.
    explains = alarm.kind in _EXPLAIN and deed.act in (Act.RAISE, Act.CLEAR)
    state, covered = cover(state, deed.at) if explains else (state, ())
    return state, (alarm, *covered)


def cover(state: LineState, now: datetime) -> Changed:
    """Hides what an explaining alarm explains, and shows again what none explains any more."""
    events: list[Effect] = []
    for entry in state.alarms:
        hidden = _hidden_by(state, entry.alarm)
        if bool(hidden) != entry.suppressed:
            done = Act.SUPPRESS if hidden else Act.UNSUPPRESS
            reason = f"explained by the alarm {hidden}" if hidden else "nothing explains it any more"
            state, more = act(state, entry, Deed(done, ANDON, now, reason))
            events += more
    return state, tuple(events)


def tick(state: LineState, now: datetime) -> Changed:
    """What time alone does: a shelf that is over, a flood that has run off."""
    events: list[Effect] = []
    for entry in state.alarms:
        if why := _why_shelved_no_more(entry.alarm, now):
            state, more = act(state, entry, Deed(Act.UNSHELVE, ANDON, now, why))
            events += more
    flood = state.standing(AlarmKind.FLOOD)
    if flood and flood.life.active and len(_recent(state.raised_at, now)) <= FLOOD_OVER:
        state, more = clear(state, flood, "the flood has run off", now)
        events += more
    return state, tuple(events)


def _why_shelved_no_more(alarm: Alarm, now: datetime) -> str:
    """Empty for one that still is, or never was. A clock that was ahead put the end too far, and nobody chose that."""
    if alarm.shelved_until is None:
        return ""
    if now >= alarm.shelved_until:
        return "the time is over"
    return "the clock that dated its end was ahead" if alarm.changed_at - now > CLOCKS_DIFFER else ""


def _recent(moments: Iterable[datetime], now: datetime) -> tuple[datetime, ...]:
    """On either side of now: what lies far ahead is of a clock that was set back, and no flood may last until it has
    caught up."""
    return tuple(at for at in moments if abs(now - at) < FLOOD_WINDOW)


def _hidden_by(state: LineState, alarm: Alarm) -> AlarmKind | None:
    if alarm.latching or alarm.kind not in _HIDEABLE:
        return None
    for kind in _EXPLAIN:
        entry = state.standing(kind)
        if entry and entry.life.active:
            return kind
    return None
