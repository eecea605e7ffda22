"""Which of the decided events still have to go out. Pure.

A line's state is stored first, with the events that were decided with it, and the events are published after it. So
no decision is ever made twice: a successor publishes what its predecessor decided and did not get out. Deciding
again could end differently, since the clock has moved and the policy may have changed.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from pipeline.events import Action, Alarm, AlarmKind, LineCommand
from workers.alerting import effects
from workers.alerting.effects import Effect
from workers.alerting.state import LineState, Outbox


@dataclass(frozen=True)
class Published:
    """What is known to be in the topics already."""

    alarms: frozenset[tuple[UUID, int]] = frozenset()
    """(alarm_id, revision)"""
    commands: frozenset[UUID] = frozenset()


NOTHING = Published()


def post(state: LineState, decided: tuple[Effect, ...], alarms_from: int, commands_from: int) -> LineState:
    """Replaces the outbox."""
    outbox = Outbox(
        alarms=tuple(event for event in decided if isinstance(event, Alarm)),
        commands=tuple(event for event in decided if isinstance(event, LineCommand)),
        alarms_from=alarms_from,
        commands_from=commands_from,
    )
    return state.model_copy(update={"outbox": outbox})


def settle(state: LineState, published: Published, now: datetime) -> LineState:
    """Leaves in the outbox what is still to be sent. A HOLD that expired on the way is not: it becomes a note."""
    alarms = [a for a in state.outbox.alarms if (a.alarm_id, a.revision) not in published.alarms]
    commands = []
    for command in state.outbox.commands:
        if command.command_id in published.commands:
            continue
        if is_expired_hold(command, now):
            state, notes = _give_up(state, command, now)
            alarms += notes
        else:
            commands.append(command)
    outbox = state.outbox.model_copy(update={"alarms": tuple(alarms), "commands": tuple(commands)})
    return state.model_copy(update={"outbox": outbox})


def is_expired_hold(command: LineCommand, now: datetime) -> bool:
    return command.action is Action.HOLD and now > command.expires_at


def _give_up(state: LineState, command: LineCommand, now: datetime) -> tuple[LineState, list[Alarm]]:
    """The episode counts as not held, so a later timely burst still stops the line."""
    episode = state.episode
    if episode is None or episode.hold is None or episode.hold.command_id != command.command_id:
        return state, []
    state = state.model_copy(update={"episode": episode.model_copy(update={"hold": None})})
    entry = state.latched_as(AlarmKind(command.reason_code))
    if entry is None:
        return state, []
    alarm = effects.note(entry.alarm, "the HOLD expired before it could be sent: the line was not stopped", now)
    return state.with_latched(entry.model_copy(update={"alarm": alarm})), [alarm]
