"""What a person may do to the alarms of a line: acknowledge, reset, shelve, unshelve. Pure.

Each is asked for apart, and none of them starts a line: a reset takes back what Andon asked for, and no more.
"""

from datetime import datetime, timedelta

from pipeline.events import Act, Operation
from workers.alerting import effects, register
from workers.alerting.effects import Effect, Refusal
from workers.alerting.lifecycle import ActRefusedError, Deed
from workers.alerting.register import Changed
from workers.alerting.state import LineState, Standing


def carry_out(state: LineState, operation: Operation, now: datetime) -> Changed:
    """On the alarm that is named, else on all that the act can move. What can't be done at all is refused: with a
    NOTE on an alarm that says why, and in the audit log."""
    meant = [entry for entry in state.alarms if operation.alarm_id in (None, entry.alarm.alarm_id)]
    if not meant:
        return _refuse(state, state.alarms, operation, "no such alarm stands", now)
    if operation.act is Act.RESET:
        return _reset(state, meant, operation, now)
    return _each(state, meant, operation, now)


def _each(state: LineState, meant: list[Standing], operation: Operation, now: datetime) -> Changed:
    events: list[Effect] = []
    whys: list[str] = []
    for entry in meant:
        try:
            state, more = register.act(state, entry, _deed(operation, now), operation)
        except ActRefusedError as why:
            whys.append(str(why))
        else:
            events += more
    return (state, tuple(events)) if events else _refuse(state, tuple(meant), operation, whys[0], now)


def _reset(state: LineState, meant: list[Standing], operation: Operation, now: datetime) -> Changed:
    """All or nothing: a line is given free only when every alarm that holds it has been seen."""
    latched = [entry for entry in meant if entry.alarm.latching]
    if not latched:
        return _refuse(state, tuple(meant), operation, "nothing is latched, so nothing is to reset", now)
    before, events = state, list[Effect]()
    for entry in latched:
        try:
            state, more = register.act(state, entry, _deed(operation, now), operation)
        except ActRefusedError as why:
            return _refuse(before, (entry,), operation, str(why), now)
        events += more
    if any(entry.alarm.latching for entry in state.alarms):
        return state, tuple(events)
    if state.episode and state.episode.command:
        given_free = effects.release(state.episode.command, state.epoch, now)
        events.append(given_free)
        state = state.model_copy(update={"last_command": given_free, "proved": False})
    # The old evidence is dealt with; it must not raise the next alarm.
    cameras = {name: camera.forget_evidence() for name, camera in state.cameras.items()}
    return state.model_copy(update={"episode": None, "cameras": cameras}), tuple(events)


def _refuse(state: LineState, told_on: tuple[Standing, ...], operation: Operation, why: str, now: datetime) -> Changed:
    refusal = Refusal(operation, why, now)
    if not told_on:
        return state, (refusal,)
    state, events = register.note(state, told_on[0], f"{operation.act} refused: {why}", now, operation)
    return state, (*events, refusal)


def _deed(operation: Operation, now: datetime) -> Deed:
    until = now + timedelta(seconds=operation.shelve_for_s) if operation.shelve_for_s else None
    return Deed(operation.act, operation.actor, now, operation.reason, until)
