"""The pure core: one line's state, one record, and what follows from it. No clock, no Kafka."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from pipeline.events import Act, AlarmKind, LineCommand, Operation, Score, from_ms
from workers.alerting.core import candidates, drift, effects, register, triggers
from workers.alerting.core.effects import Effect, Trigger
from workers.alerting.core.lifecycle import ANDON, Deed
from workers.alerting.core.operations import CLOCKS_MAY_DIFFER, carry_out
from workers.alerting.core.outbox import without_void
from workers.alerting.core.register import Changed
from workers.alerting.core.state import Camera, Episode, LineState, Standing
from workers.alerting.core.stops import MAX_STOPS, Decision, decide, tell_spent
from workers.alerting.core.window import add_frame, add_part
from workers.alerting.policy import LinePolicy


class Skip(StrEnum):
    """Why a record counted for nothing."""

    REPLAYED = "replayed"
    """The state already stands for this offset."""
    DUPLICATE = "duplicate"
    """The same frame was scored twice."""
    NO_ROOM = "no_room"
    """Its line has as many cameras as it may have. `silence.py` tells of it."""
    MISPLACED = "misplaced"
    """It lies in another partition than its line, which another worker may hold."""
    STATE_UNREADABLE = "state_unreadable"
    """Nobody knows what stands latched on its line."""


@dataclass(frozen=True)
class Stepped:
    state: LineState
    effects: tuple[Effect, ...] = ()
    shadows: tuple[LineCommand, ...] = ()
    """What candidates, or a line in shadow mode, would have asked for."""
    skipped: Skip | None = None


def step(
    state: LineState, event: Score | Operation, offset: int, written_ms: int, policy: LinePolicy, now: datetime
) -> Stepped:
    """Applies the record at `offset` of its topic, to which Kafka gave the time `written_ms`.

    A record that was applied before changes nothing, so any stretch of a topic may be read again.
    """
    if isinstance(event, Operation):
        return _operate(state, event, offset, written_ms, now)
    return _judge(state, event, offset, written_ms, policy, now)


def _is_news(offset: int, written_ms: int, until: int, until_ms: int | None) -> bool:
    """Later than all that were applied, although its offset is not: the topic was made anew, or has lost its end."""
    return offset > until or (until_ms is not None and written_ms > until_ms)


def _operate(state: LineState, operation: Operation, offset: int, written_ms: int, now: datetime) -> Stepped:
    until_ms = state.applied.operations_ms
    if not _is_news(offset, written_ms, state.applied.operations, until_ms):
        return Stepped(state, skipped=Skip.REPLAYED)
    if operation.asked_at > now + CLOCKS_MAY_DIFFER:
        # Of a clock that is ahead: it would never grow old, and mean what came after it. So Kafka's time is taken.
        written_at = from_ms(written_ms) + CLOCKS_MAY_DIFFER
        operation = operation.model_copy(update={"asked_at": min(operation.asked_at, written_at)})
    after, events = carry_out(state, operation, now)
    return Stepped(_applied(after, operations=offset, operations_ms=_latest(until_ms, written_ms)), events)


def _judge(state: LineState, score: Score, offset: int, written_ms: int, policy: LinePolicy, now: datetime) -> Stepped:
    camera = state.cameras.get(score.camera_id, Camera(captured_at=score.captured_at))
    counted_to = camera.counted_to(score.boot_id)
    until_ms = state.applied.scores_ms
    is_news = _is_news(offset, written_ms, state.applied.scores, until_ms)
    applied = {"scores": offset, "scores_ms": _latest(until_ms, written_ms)}
    if counted_to is None and not is_news:
        return Stepped(state, skipped=Skip.REPLAYED)
    if counted_to is not None and score.sequence <= counted_to:
        if not is_news:
            return Stepped(state, skipped=Skip.REPLAYED)
        return Stepped(_applied(state, **applied), skipped=Skip.DUPLICATE)
    if not state.has_room_for(score.camera_id, min(score.scored_at, now)):
        return Stepped(_applied(state.with_crowded_out(score.camera_id, now), **applied), skipped=Skip.NO_ROOM)
    # A frame that is news although its offset is not: the topic was made anew. Its offsets are the ones to go by.
    camera = camera.heard(score, triggers.late_since(camera, score, policy, now), now).model_copy(
        update={
            "parts": add_part(camera.parts, score, policy.n),
            "frames": add_frame(camera.frames, score, policy.not_decidable.of_last),
            "spread": drift.observe(camera.spread, score, policy.drift),
        }
    )
    camera, shadows = candidates.judge(camera, score, policy, state.epoch, now)
    camera = triggers.mark_full(camera, score, policy)
    state = _applied(state.with_camera(score.camera_id, camera), **applied)
    events: list[Effect] = []
    trigger = triggers.trigger(state, camera, score, policy, now)
    if trigger is not None:
        state, more, simulated = _respond(state, trigger, policy, now)
        events += more
        shadows += simulated
    for settle in (_common_cause, _settle, _drift):
        state, more = settle(state, score, policy, now)
        events += more
    return Stepped(state, tuple(events), shadows)


def _respond(
    state: LineState, trigger: Trigger, policy: LinePolicy, now: datetime
) -> tuple[LineState, tuple[Effect, ...], tuple[LineCommand, ...]]:
    """First in group: one alarm per kind and one command per episode. More cameras are noted, each once."""
    score = trigger.score
    standing = state.standing(trigger.kind)
    decision = decide(state, trigger, policy, now)
    if policy.actuator and decision.command is None:  # without a PLC nobody ever confirms
        # What is void must not be in the way. But it may stand there all the same, and no REJECT, with which the line
        # runs, takes the place of a stop that nobody has reset.
        freed = without_void(state, now)
        again = decide(freed, trigger, policy, now)
        if again.command and (again.command.action.stops or not (state.level and state.level.stops)):
            decision, state = again, freed
    episode = state.episode or Episode(episode_id=f"{score.line_id}:{score.frame_id}")
    if standing is None:
        state, events = _raise(state, trigger, decision, episode.episode_id, now)
    else:
        state, events = _see_again(state, standing, trigger, decision, now)
        state, shown = _show(state, trigger.kind, decision, now)
        events = (*events, *shown)
    if decision.latching and state.episode is None:
        state = state.model_copy(update={"episode": episode})
    if decision.spent:
        state, spent = tell_spent(state, score.camera_id, decision.remark, now)
        events = (*events, *spent)
    command = decision.command
    if command is None:
        return state, events, ()
    if command.simulated:
        return state.model_copy(update={"episode": episode}), events, (command,)
    asked = {
        "episode": episode.model_copy(update={"command": command, "beneath": episode.command}),
        "last_command": command,
        "proved": False,
    }
    if command.action.stops:
        stopped_at = (*state.stopped_at, now)[-MAX_STOPS:]
        asked |= {"stopped_at": stopped_at, "stop_of": episode.episode_id, "stop_moved": False}
    state = state.model_copy(update=asked)
    return state, (*events, command), ()


def _raise(state: LineState, trigger: Trigger, decision: Decision, episode_id: str, now: datetime) -> Changed:
    score = trigger.score
    alarm = effects.raised_by(
        trigger,
        episode_id if decision.latching else f"{score.line_id}:{trigger.kind}:{score.frame_id}",
        now,
        number=state.raised,
        latching=decision.latching,
        first=decision.latching and not state.latched,
    )
    if decision.remark:
        alarm = alarm.model_copy(update={"reason": f"{alarm.reason}; {decision.remark}"})
    return register.add(state, alarm, (score.camera_id,))


def _see_again(state: LineState, standing: Standing, trigger: Trigger, decision: Decision, now: datetime) -> Changed:
    """Of an alarm that stands: its cause is back, or is told of where that is news."""
    camera_id = trigger.score.camera_id
    known = camera_id in standing.cameras
    standing = standing.model_copy(update={"cameras": tuple(dict.fromkeys((*standing.cameras, camera_id)))})
    latches = decision.latching and not standing.alarm.latching
    if latches:  # the policy has changed since it was raised; what holds a line has to be reset by a person
        more = {"latching": True, "first": not state.latched}
        standing = standing.model_copy(update={"alarm": standing.alarm.model_copy(update=more)})
    if not standing.life.active:
        return register.again(state, standing, trigger.reason, now)
    command = decision.command
    is_news = command and not command.simulated and command.action is not standing.acknowledged_level
    if command and is_news and not standing.life.unacknowledged:
        # Who acknowledged it saw a line that ran. What was asked for already then, and not confirmed, is no news.
        reason = f"{trigger.reason}; {command.action} is asked for behind it, so it has to be acknowledged again"
        return register.again(state, standing, reason, now)
    if command or latches or not known:
        return register.note(state, standing, trigger.reason, now)
    return state, ()


def _show(state: LineState, kind: AlarmKind, decision: Decision, now: datetime) -> Changed:
    """Covered while the line ran: who sees it stand has to see why."""
    entry, command = state.standing(kind), decision.command
    events: tuple[Effect, ...] = ()
    if entry and entry.suppressed and entry.alarm.latching:  # it was not when it was hidden
        reason = "a person has to reset it by the policy as it is now, so nothing hides it"
        state, events = register.act(state, entry, Deed(Act.UNSUPPRESS, ANDON, now, reason))
        entry = state.standing(kind)
    if entry is None or entry.alarm.shelved_until is None or command is None or command.simulated:
        return state, events
    reason = f"{command.action} is asked for behind it, so it is shown again"
    state, more = register.act(state, entry, Deed(Act.UNSHELVE, ANDON, now, reason))
    return state, (*events, *more)


def _common_cause(state: LineState, score: Score, policy: LinePolicy, now: datetime) -> Changed:
    if abs(now - score.captured_at) > triggers.AGREE_WITHIN:
        return state, ()  # of a backlog or a wrong clock: by its time, no other camera sees anything
    agreeing = triggers.agreeing(state, score, policy)
    entry = state.standing(AlarmKind.COMMON_CAUSE)
    if entry and agreeing and agreeing != entry.cameras:  # whose silence would end it
        entry = entry.model_copy(update={"cameras": agreeing})
        state = state.with_alarm(entry)
    if entry and entry.life.active:
        return _clear_if_over(state, entry, agreeing is None, score, policy, "the cameras do not agree any more", now)
    if agreeing is None:
        return state, ()
    reason = f"{len(agreeing)} cameras at once ({', '.join(agreeing[:8])}): look at light and model before the parts"
    alarm = effects.condition(state, AlarmKind.COMMON_CAUSE, score.camera_id, reason, now, score.captured_at)
    return register.see(state, entry, alarm, agreeing)


def _settle(state: LineState, score: Score, policy: LinePolicy, now: datetime) -> Changed:
    """Clears the alarms of windows once they have been good for the off-delay."""
    events: list[Effect] = []
    for entry in state.alarms:
        full = triggers.still_full(state, entry.alarm.kind)
        if full is None or not entry.life.active:
            continue
        state, more = _clear_if_over(state, entry, not full, score, policy, "no camera sees it any more", now)
        events += more
    return state, tuple(events)


def _clear_if_over(
    state: LineState, entry: Standing, good: bool, score: Score, policy: LinePolicy, reason: str, now: datetime
) -> Changed:
    """Of an alarm that is active: once it has been good for the off-delay."""
    good_since = triggers.earlier(entry.good_since, score.captured_at) if good else None
    if good_since is not None and (score.captured_at - good_since).total_seconds() >= policy.off_delay_s:
        return register.clear(state, entry, reason, now)
    if good_since != entry.good_since:
        state = state.with_alarm(entry.model_copy(update={"good_since": good_since}))
    return state, ()


def _drift(state: LineState, score: Score, policy: LinePolicy, now: datetime) -> Changed:
    spread = state.cameras[score.camera_id].spread
    shift = drift.shift(spread, policy.drift) if spread else None
    entry = state.standing(AlarmKind.DRIFT, score.camera_id)
    if shift is None:
        return state, ()
    if shift.distance > policy.drift.shift:
        if entry and entry.life.active:  # told; an alarm is not made with each score only to be dropped
            return state, ()
        reason = f"{shift}; have the camera, the light and the model looked at. No limit was moved"
        alarm = effects.condition(state, AlarmKind.DRIFT, score.camera_id, reason, now, score.captured_at)
        alarm = alarm.model_copy(update={"model": score.model})
        return register.see(state, entry, alarm, (score.camera_id,))
    if entry and shift.distance < policy.drift.shift * drift.OVER:
        return register.clear(state, entry, "the scores are back where the calibration has them", now)
    return state, ()


def _latest(until_ms: int | None, written_ms: int) -> int:
    return written_ms if until_ms is None else max(until_ms, written_ms)


def _applied(state: LineState, **offsets: int) -> LineState:
    return state.model_copy(update={"applied": state.applied.model_copy(update=offsets)})
