"""What a person may do to the alarms of a line: acknowledge, then reset. Pure."""

from datetime import datetime

from pipeline.events import Act, AlarmState, Operation
from workers.alerting import effects
from workers.alerting.effects import Effect
from workers.alerting.state import Latched, LineState

Changed = tuple[LineState, tuple[Effect, ...]]


def carry_out(state: LineState, operation: Operation, now: datetime) -> Changed:
    """All alarms of the line at once. What can't be done is refused with a NOTE on an alarm; a line without alarms
    has nothing to change and nothing to note it on."""
    if not state.latched:
        return state, ()
    if operation.act is Act.ACKNOWLEDGE:
        return _acknowledge(state, operation, now)
    return _reset(state, operation, now)


def _acknowledge(state: LineState, operation: Operation, now: datetime) -> Changed:
    unseen = _unacknowledged(state)
    if not unseen:
        return _refuse(state, state.latched[0], operation, "already acknowledged", now)
    events = []
    for entry in unseen:
        alarm = effects.acknowledge(entry.alarm, operation, now)
        state = state.with_latched(entry.model_copy(update={"alarm": alarm}))
        events.append(alarm)
    return state, tuple(events)


def _reset(state: LineState, operation: Operation, now: datetime) -> Changed:
    unseen = _unacknowledged(state)
    if unseen:
        return _refuse(state, unseen[0], operation, "acknowledge the alarm before its reset", now)
    events: list[Effect] = [effects.reset(entry.alarm, operation, now) for entry in state.latched]
    if state.episode and state.episode.hold:
        events.append(effects.permit_unhold(state.episode.hold, now))
    # The old evidence is dealt with; it must not raise the next alarm.
    cameras = {name: camera.forget_evidence() for name, camera in state.cameras.items()}
    return state.model_copy(update={"latched": (), "episode": None, "cameras": cameras}), tuple(events)


def _refuse(state: LineState, entry: Latched, operation: Operation, why: str, now: datetime) -> Changed:
    alarm = effects.note(entry.alarm, f"{operation.act} refused: {why}", now, operation)
    return state.with_latched(entry.model_copy(update={"alarm": alarm})), (alarm,)


def _unacknowledged(state: LineState) -> list[Latched]:
    return [entry for entry in state.latched if entry.alarm.state is AlarmState.UNACK_LATCHED]
