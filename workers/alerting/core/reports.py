"""What the drivers tell of the PLCs, and what it does to a line's state. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from pipeline.events import Action, AlarmKind, CommandReply, LineCommand, Outcome, command_id
from pipeline.tracing import child
from workers.alerting.core import effects, register
from workers.alerting.core.effects import Effect
from workers.alerting.core.outbox import adopt, withdraw
from workers.alerting.core.register import Changed
from workers.alerting.core.state import Episode, LineState, Standing

_TOLD_ONCE = "told once; it waits for who sees it"


@dataclass(frozen=True)
class Answer:
    """What became of a command at the line."""

    line_id: str
    epoch: int
    command_id: UUID
    outcome: Outcome
    actuator: str
    value: str | None
    attempts: int
    at: datetime
    detail: str = ""
    stop_gone: bool = False
    """Of a release: whether the line was read without a stop since, be it confirmed or not."""


@dataclass(frozen=True)
class Link:
    """Whether the PLC can be worked with, and its line runs unless Andon asks otherwise. `detail` says why not."""

    line_id: str
    epoch: int
    up: bool
    at: datetime
    detail: str = ""
    left_stopped: bool = False
    """By no order that is in force."""


Report = Answer | Link


def apply(
    state: LineState, report: Report, now: datetime, orders: tuple[str, ...] = (), address: str | None = None
) -> Changed:
    """Reports of an earlier epoch are of a line that was another's meanwhile, and count for nothing.

    orders: where the policy has stops written, below the address of the PLC.
    """
    if report.epoch != state.epoch:
        return state, ()
    if isinstance(report, Answer):
        return _answer(state, report, orders, now)
    return _link(state, report, _left_behind(state, address, orders) if address else None, now)


def without_plc(state: LineState, now: datetime) -> Changed:
    """For a line whose policy names no PLC. Where one was taken out while it holds the line, nobody would know why the
    reset does not free it. By what was confirmed there last: what was asked since may have reached nobody."""
    entry = state.standing(AlarmKind.PLC)
    active = entry is not None and entry.life.active
    if state.asked is not None and (state.proved or state.stands_at is not None):
        return (state, ()) if active else _tell_of_plc(state, _no_reset_reaches(state), now)
    if state.stands_at is not None:
        # Its reset went nowhere. Nothing shows when somebody has freed the line by hand, so a later stop, which this
        # PLC never hears of, is not told of as standing there.
        reason = (
            f"the reset took nothing back at {state.stands_at}, a PLC that the policy does not name any more: where "
            "the line still stands, free it at the PLC itself"
        )
        state = state.model_copy(update={"stands_at": None, "stands_on": ()})
        return _tell_once(state, entry, reason, now)
    return register.clear(state, entry, "the policy names no PLC", now) if entry else (state, ())


def _no_reset_reaches(state: LineState) -> str:
    return (
        f"{state.level if state.proved else 'what was asked of this line'} stands at {state.stands_at or 'a PLC'}, "
        "a PLC that the policy does not name any more, so a reset will not take it back there: name the PLC again "
        "before you reset, or free the line at the PLC itself"
    )


def _tell_once(state: LineState, entry: Standing | None, reason: str, now: datetime) -> Changed:
    """Anew, although it was told before, and over at once."""
    if entry:
        state, events = register.again(state, entry, reason, now)
    else:
        state, events = register.add(state, effects.condition(state, AlarmKind.PLC, "plc", reason, now))
    told = state.standing(AlarmKind.PLC)
    state, more = register.clear(state, told, _TOLD_ONCE, now) if told else (state, ())
    return state, (*events, *more)


def named(state: LineState, address: str | None, orders: tuple[str, ...], now: datetime) -> Changed:
    """What the policy names at a takeover. Of a PLC that it named before, a stop is told where it stands (above, and in
    `_moved`); but a line that was free has left its run permit there, and plain coils keep it."""
    place = address and _place(address, orders)
    was, state = state.named, state.model_copy(update={"named": place})
    stands_here = address and state.stands_at and _left_behind(state, address, orders) is None
    if was != place and state.stop_of is not None and not stands_here:
        state = state.model_copy(update={"stop_moved": True})
    if was in (None, place):
        return state, ()
    if state.stands_at is not None:
        # `without_plc` adds nothing where the PLC has an alarm, and one that does not answer is what one takes out.
        is_lost = place is None and state.asked is not None
        return _tell_of_plc(state, _no_reset_reaches(state), now) if is_lost else (state, ())
    reason = (
        f"the policy names {place or 'no PLC'} for this line, where it named {was}: what was written there last stands "
        "there, a run permit among it. If a machine still listens to it, take the permit back by hand"
    )
    before = state.standing(AlarmKind.PLC)
    state, events = _tell_of_plc(state, reason, now)
    entry = state.standing(AlarmKind.PLC)
    if entry and not (before and before.life.active):
        # Over at once, so that what the new PLC has to tell is an alarm, too.
        state, more = register.clear(state, entry, _TOLD_ONCE, now)
        events = (*events, *more)
    return state, events


def _place(address: str, signals: Sequence[str]) -> str:
    """Where in a PLC: its address alone says so, where there are none."""
    return f"{address} ({', '.join(signals)})" if signals else address


def _left_behind(state: LineState, address: str, orders: tuple[str, ...]) -> tuple[str, str] | None:
    """Where the stop stands, and where the policy has the next one written; None where that is there, too."""
    was = state.stands_at
    left = [signal for signal in state.stands_on if signal not in orders]
    if was is None or (was == address and not left):
        return None
    return (_place(was, left), _place(address, orders)) if left else (was, address)


def _link(state: LineState, link: Link, left_behind: tuple[str, str] | None, now: datetime) -> Changed:
    if not link.up:
        # While the new PLC confirms nothing, who resets would believe that the line is given free.
        left = left_behind and (
            f". And what was asked of this line stands at {left_behind[0]}, which the policy named before: no reset "
            "takes it back there, so free it by hand, or name that PLC again"
        )
        void = link.left_stopped and state.episode and state.episode.void
        ours = void and ". It may be one that was given up as unconfirmed: a reset takes that back"
        return _tell_of_plc(state, f"{link.detail}{ours or ''}{left or ''}", now)
    entry = state.standing(AlarmKind.PLC)
    return register.clear(state, entry, "the PLC answers, and stands as asked", now) if entry else (state, ())


def _moved(state: LineState, action: Action, address: str, orders: tuple[str, ...], now: datetime) -> Changed:
    """What another PLC than this one confirmed, or this one by other signals, before the policy was changed, is taken
    back there by nobody."""
    left_behind, released = _left_behind(state, address, orders), action is Action.UNHOLD_PERMITTED
    stands = {"stands_at": None, "stands_on": ()} if released else {"stands_at": address, "stands_on": orders}
    state = state.model_copy(update=stands)
    events: tuple[Effect, ...] = ()
    if left_behind:
        old, new = left_behind
        reason = (
            f"{old} has confirmed what was asked of this line, and the policy names {new} now: a reset takes it "
            "back at this one alone. Where the old one is another device, or its signals lie elsewhere, free it by hand"
        )
        state, events = _tell_of_plc(state, reason, now)
    entry = state.standing(AlarmKind.PLC)
    if released and entry is not None:
        state, more = register.clear(state, entry, "the line was given free", now)
        events = (*events, *more)
    return state, events


def _tell_of_plc(state: LineState, reason: str, now: datetime) -> Changed:
    """On the alarm that stands, if one does: a PLC in fault may have more than one to tell of."""
    entry = state.standing(AlarmKind.PLC)
    if entry and entry.life.active and reason != entry.alarm.reason:
        return register.note(state, entry, reason, now)
    return register.see(state, entry, effects.condition(state, AlarmKind.PLC, "plc", reason, now))


def _answer(state: LineState, answer: Answer, orders: tuple[str, ...], now: datetime) -> Changed:
    good = answer.outcome in (Outcome.ACCEPTED, Outcome.DUPLICATE)
    command = state.last_command
    if command is None and good and state.episode and state.episode.void:
        command = state.episode.void
    if command is None:
        return state, ()
    outcome = answer.outcome
    if command.command_id != answer.command_id:
        if not good or not _follows(state.episode, command, answer.command_id):
            return state, ()
        outcome = Outcome.DUPLICATE
    adopted = state.episode if state.last_command is None else None
    unsent = (command,) if adopted and adopted.unsent else ()
    if good:
        after, events = _confirmed(state, command, answer.actuator, orders, now)
    else:
        after, events = _unconfirmed(state, command, answer, now)
    return after, (*unsent, _reply(command, answer, outcome), *events)


def _reply(command: LineCommand, answer: Answer, outcome: Outcome) -> CommandReply:
    return CommandReply(
        command_id=command.command_id,
        episode_id=command.episode_id,
        epoch=answer.epoch,
        line_id=command.line_id,
        action=command.action,
        outcome=outcome,
        actuator=answer.actuator,
        value_read_back=answer.value,
        attempts=answer.attempts,
        captured_at=command.captured_at,
        issued_at=command.issued_at,
        observed_at=answer.at,
        detail=answer.detail,
        traceparent=child(command.traceparent, f"plc {outcome}"),
    )


def _confirmed(
    state: LineState, command: LineCommand, actuator: str, orders: tuple[str, ...], now: datetime
) -> Changed:
    state = adopt(state, command) if state.last_command is None else state.model_copy(update={"proved": True})
    episode = state.episode
    if episode and command.action.stops:
        state = state.model_copy(update={"episode": episode.model_copy(update={"not_stopped": False})})
    still_runs = command.action is Action.REJECT and episode is not None and episode.not_stopped
    entry = state.standing(AlarmKind.NOT_STOPPED)
    events: tuple[Effect, ...] = ()
    if entry and not still_runs:
        state, events = register.clear(state, entry, "the line has confirmed", now)
    stop_of = command.episode_id if command.action.stops else None
    state = state.model_copy(update={"stop_of": stop_of, "stop_moved": False})
    state, more = _moved(state, command.action, actuator, orders, now)
    return state, (*events, *more)


def _unconfirmed(state: LineState, command: LineCommand, answer: Answer, now: datetime) -> Changed:
    if answer.outcome is Outcome.EXPIRED:
        state, _ = withdraw(state, command)
    if command.action is Action.UNHOLD_PERMITTED:
        return (state.model_copy(update={"stop_of": None}) if answer.stop_gone else state), ()
    reason = f"{command.action} was not confirmed by {answer.actuator}: {answer.detail}. Look at the line itself"
    entry = state.standing(AlarmKind.NOT_STOPPED)
    if entry and entry.life.active:
        return register.note(state, entry, reason, now)
    alarm = effects.condition(state, AlarmKind.NOT_STOPPED, command.camera_id, reason, now, command.captured_at)
    return register.see(state, entry, alarm)


def _follows(episode: Episode | None, command: LineCommand, earlier: UUID) -> bool:
    """Whether `command` asks again for what this episode had asked for and given up as void: where the one stands after
    all, so does the other. The line's driver may never have heard of the second."""
    if episode is None:
        return False
    before = range(episode.given_up)
    return earlier in (command_id(command.line_id, episode.episode_id, command.action, given_up=n) for n in before)
