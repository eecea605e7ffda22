"""What a person may do to the alarms of a line: acknowledge, reset, shelve, unshelve. Pure.

Each is asked for apart, and none of them starts a line: a reset takes back what Andon asked for, and no more.
"""

from datetime import datetime, timedelta

from pipeline.events import Act, AlarmKind, Operation
from workers.alerting.core import effects, register
from workers.alerting.core.effects import Effect, Refusal
from workers.alerting.core.lifecycle import ActRefusedError, Deed
from workers.alerting.core.register import Changed
from workers.alerting.core.state import LineState, Standing

RESET_VALID = timedelta(minutes=5)
"""A reset that waited longer, since no worker was running say, is of a line that nobody has looked at since. Long
enough for clocks that differ."""
CLOCKS_MAY_DIFFER = timedelta(minutes=1)
"""Who asks takes the time of an alarm's clock where that is ahead of theirs, by no more than this."""


def carry_out(state: LineState, operation: Operation, now: datetime) -> Changed:
    """On the alarm that is named, else on all that the act can move. A person can only mean what stood when they asked.
    What can't be done at all is refused: with a NOTE on an alarm that says why, and in the audit log."""
    meant = [entry for entry in state.alarms if operation.alarm_id in (None, entry.alarm.alarm_id)]
    if operation.act is Act.RESET:
        return _reset(state, meant, operation, now)
    if not meant:
        return _refuse(state, state.alarms, operation, _gone(state, operation), now)
    return _each(state, meant, operation, now)


def _each(state: LineState, meant: list[Standing], operation: Operation, now: datetime) -> Changed:
    events: list[Effect] = []
    whys: list[str] = []
    unseen: list[tuple[Standing, str]] = []
    for entry in meant:
        if why := _unseen(entry, operation, now):
            unseen.append((entry, why))
            continue
        try:
            state, more = register.act(state, entry, _deed(operation, now), operation)
        except ActRefusedError as refused:
            whys.append(str(refused))
        else:
            events += more
    if not events and not unseen:
        return _refuse(state, tuple(meant), operation, whys[0], now)
    # Of all that stand, those that need nothing are passed over; who asked before one stood has to look at it.
    for entry, why in unseen:
        state, more = _refuse(state, (entry,), operation, why, now)
        events += more
    return state, tuple(events)


def _reset(state: LineState, meant: list[Standing], operation: Operation, now: datetime) -> Changed:
    """All or nothing: a line is given free only when every alarm that holds it has been seen."""
    latched = [entry for entry in meant if entry.alarm.latching]
    if not latched and (state.latched or state.asked is None):
        why = "nothing is latched, so nothing is to reset" if meant else _gone(state, operation)
        return _refuse(state, tuple(meant) or state.alarms, operation, why, now)
    if now - operation.asked_at > RESET_VALID:
        waited = f"this was asked {(now - operation.asked_at).total_seconds() / 60:.0f} minutes ago"
        why = f"{waited}: look at the line and ask again; {_by_whose_clock(now)}"
        return _refuse(state, tuple(meant), operation, why, now)
    before, events = state, list[Effect]()
    for entry in latched:
        if unseen := _unseen(entry, operation, now):
            return _refuse(before, (entry,), operation, unseen, now)
        try:
            state, more = register.act(state, entry, _deed(operation, now), operation)
        except ActRefusedError as refused:
            return _refuse(before, (entry,), operation, str(refused), now)
        events += more
    if state.latched:
        return state, tuple(events)
    if state.asked is not None:
        given_free = effects.release(state.asked, state.epoch, now)
        events.append(given_free)
        state = state.model_copy(update={"last_command": given_free, "proved": False})
    if not_stopped := state.standing(AlarmKind.NOT_STOPPED):
        state, more = register.clear(state, not_stopped, "the stop was taken back by a reset", now)
        events += more
    # The old evidence is dealt with; it must not raise the next alarm.
    cameras = {name: camera.forget_evidence() for name, camera in state.cameras.items()}
    # Nor does who acknowledged another alarm while the line stood know of the next stop.
    alarms = tuple(entry.model_copy(update={"acknowledged_level": None}) for entry in state.alarms)
    return state.model_copy(update={"episode": None, "cameras": cameras, "alarms": alarms}), tuple(events)


def _unseen(entry: Standing, operation: Operation, now: datetime) -> str | None:
    """Why this alarm can't be meant; None where it can. To show a shelved one again hides nothing from anybody."""
    if operation.act is Act.UNSHELVE or entry.active_since <= operation.asked_at:
        return None
    if entry.active_since > now:
        # Of a clock that was ahead and has been set back. Nobody could free the line before this one has caught up.
        return None
    asked, raised = (f"{at:%Y-%m-%d %H:%M:%S}" for at in (operation.asked_at, entry.active_since))
    return (
        f"it was asked at {asked} UTC, before this alarm was raised at {raised}: look at it and ask again; "
        f"{_by_whose_clock(now)}"
    )


def _gone(state: LineState, operation: Operation) -> str:
    """Who asks on a page that has grown old sees an alarm stand all the same, and has to know that it is another."""
    if operation.alarm_id is None:
        return "no alarm stands on this line"
    return "the alarm that was meant is over" + ("; what stands now is another: look at it" if state.alarms else "")


def _by_whose_clock(now: datetime) -> str:
    """Who asks again by a clock that differs is refused again: they have to see that it does."""
    return f"alerting's clock says {now:%Y-%m-%d %H:%M:%S} UTC"


def _refuse(state: LineState, told_on: tuple[Standing, ...], operation: Operation, why: str, now: datetime) -> Changed:
    refusal = Refusal(operation, why, now)
    if not told_on:
        return state, (refusal,)
    state, events = register.note(state, told_on[0], f"{operation.act} refused: {why}", now, operation)
    return state, (*events, refusal)


def _deed(operation: Operation, now: datetime) -> Deed:
    until = now + timedelta(seconds=operation.shelve_for_s) if operation.shelve_for_s else None
    return Deed(operation.act, operation.actor, now, operation.reason, until)
