"""Which of the decided events still have to go out. Pure.

A line's state is stored first, with the events that were decided with it, and the events are published after it. So
no decision is ever made twice: a successor publishes what its predecessor decided and did not get out. Deciding
again could end differently, since the clock has moved and the policy may have changed.

Alarms and commands are looked for before they are sent again. Replies, audit entries and what candidates told are
sent again without a look: a reader knows a repeat by its number or its command.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from pipeline.events import Action, Alarm, AlarmKind, CommandReply, LineCommand
from workers.alerting.core import audit, register
from workers.alerting.core.effects import Effect
from workers.alerting.core.state import LineState, Outbox


@dataclass(frozen=True)
class Published:
    """What is known to be in the topics already."""

    alarms: frozenset[tuple[UUID, int]] = frozenset()
    """(alarm_id, revision)"""
    commands: frozenset[UUID] = frozenset()


NOTHING = Published()


def post(
    state: LineState,
    decided: Sequence[Effect],
    alarms_from: int,
    commands_from: int,
    shadows: Sequence[LineCommand] = (),
) -> LineState:
    """Replaces the outbox."""
    state, entries = audit.record(state, decided)
    outbox = Outbox(
        alarms=tuple(event for event in decided if isinstance(event, Alarm)),
        commands=tuple(event for event in decided if isinstance(event, LineCommand)),
        replies=tuple(event for event in decided if isinstance(event, CommandReply)),
        shadows=tuple(shadows),
        audit=entries,
        alarms_from=alarms_from,
        commands_from=commands_from,
    )
    return state.model_copy(update={"outbox": outbox})


def add(state: LineState, decided: Sequence[Effect]) -> LineState:
    """To what the outbox holds already."""
    more = post(state, decided, 0, 0)
    old = state.outbox
    outbox = old.model_copy(
        update={
            name: (*getattr(old, name), *getattr(more.outbox, name))
            for name in ("alarms", "commands", "replies", "audit")
        }
    )
    return more.model_copy(update={"outbox": outbox})


def settle(state: LineState, published: Published, now: datetime) -> LineState:
    """Leaves in the outbox what is still to be sent. A stop that expired on the way is not: it becomes a note. One that
    the line has confirmed meanwhile is sent, however late: it happened."""
    outbox = state.outbox
    expired = [c for c in outbox.commands if c.command_id not in published.commands and is_void(state, c, now)]
    gone = {command.command_id for command in expired}
    kept = outbox.model_copy(
        update={
            "alarms": tuple(a for a in outbox.alarms if (a.alarm_id, a.revision) not in published.alarms),
            "commands": tuple(c for c in outbox.commands if c.command_id not in published.commands | gone),
            "replies": tuple(reply for reply in outbox.replies if reply.command_id not in gone),
        }
    )
    state = state.model_copy(update={"outbox": kept})
    for command in expired:
        state = _give_up(state, command, now)
    return state


def is_void(state: LineState, command: LineCommand, now: datetime) -> bool:
    """Whether a stop has expired without having been confirmed by its line. A permission does not expire so."""
    if command.action is Action.UNHOLD_PERMITTED or now <= command.expires_at:
        return False
    asked = state.last_command
    return not (state.proved and asked is not None and asked.command_id == command.command_id)


def _give_up(state: LineState, command: LineCommand, now: datetime) -> LineState:
    """The episode counts as not stopped, so a later timely burst still stops the line."""
    state, given_up = withdraw(state, command, sent=False)
    entry = state.standing(AlarmKind(command.reason_code))
    if not given_up or entry is None:
        return state
    reason = (
        f"the {command.action} expired before it could be sent and was not confirmed: the line counts as not stopped"
    )
    state, events = register.note(state, entry, reason, now)
    return add(state, events)


def withdraw(state: LineState, command: LineCommand, *, sent: bool = True) -> tuple[LineState, bool]:
    """Gives up what was never read back from the line; False where the line was asked for something else since. It
    takes no stop of the budget: a PLC that was away for some bursts would have spent a whole shift's. A REJECT beneath
    it is in force again; whether it still stands at the line has to be read there."""
    episode = state.episode
    if episode and episode.beneath and episode.beneath.command_id == command.command_id:
        return state.model_copy(update={"episode": episode.model_copy(update={"beneath": None})}), False
    if episode and not sent and episode.void and episode.void.command_id == command.command_id:
        return state.model_copy(update={"episode": episode.model_copy(update={"unsent": True})}), False
    if episode is None or episode.command is None or episode.command.command_id != command.command_id:
        return state, False
    given_up = {
        "void": command,
        "unsent": not sent,
        "given_up": episode.given_up + 1,
        "not_stopped": episode.not_stopped or command.action.stops,
    }
    return state.model_copy(
        update={
            "episode": episode.model_copy(update={"command": episode.beneath, "beneath": None, **given_up}),
            "last_command": episode.beneath,
            "proved": False,
            "stopped_at": tuple(at for at in state.stopped_at if at != command.issued_at),
        }
    ), True


def without_void(state: LineState, now: datetime) -> LineState:
    """As if a stop that is void had been given up already. While its PLC is silent it stays, for it may have got
    through; but it must not keep a later, timely burst from being asked for."""
    command = state.episode and state.episode.command
    return withdraw(state, command)[0] if command and is_void(state, command, now) else state


def adopt(state: LineState, command: LineCommand) -> LineState:
    """The other way round: the line has confirmed, a moment too late, what was given up."""
    episode = state.episode and state.episode.model_copy(update={"command": command, "void": None, "unsent": False})
    stopped_at = tuple(sorted({*state.stopped_at, command.issued_at}))
    return state.model_copy(
        update={"episode": episode, "last_command": command, "proved": True, "stopped_at": stopped_at}
    )
