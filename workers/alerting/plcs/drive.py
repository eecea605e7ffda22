"""What to write to a PLC, and what its answer means. Pure; `driver.py` does it."""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum, auto

from pipeline.events import Action, LineCommand
from workers.alerting.actuators.base import Image, ReadBack, matches
from workers.alerting.policy import OnLoss


@dataclass(frozen=True)
class Order:
    """What the alerting worker wants of one line."""

    line_id: str
    epoch: int
    command: LineCommand | None
    """The command in force, or the release that followed it; None when nothing was ever asked."""
    proved: bool
    """Whether the command was read back before."""
    on_loss: OnLoss
    over_own: bool = False
    """Whether it may take the place of a stop: one of ours that may stand there, and that a person has reset. A stop
    may anyway."""

    @property
    def action(self) -> Action | None:
        if self.command is None or self.command.action is Action.UNHOLD_PERMITTED:
            return None
        return self.command.action

    @property
    def stops(self) -> bool:
        return self.action is not None and self.action.stops

    @property
    def may_release(self) -> bool:
        """Whether a person has reset what Andon asked for, and the line has yet to confirm it. Nothing else takes a
        stop back: what stands after that was set by somebody else."""
        return self.command is not None and self.command.action is Action.UNHOLD_PERMITTED and not self.proved

    def is_void(self, at: datetime) -> bool:
        """Whether it was not read back in time: it must not stop the line any more."""
        return bool(self.action and self.command and not self.proved and at > self.command.expires_at)


def image(order: Order, heartbeat: int, *, alive: bool) -> Image:
    permit = not order.stops and (alive or order.on_loss is OnLoss.RUN_WITH_ALARM)
    command_id = str(order.command.command_id) if order.command else None
    unconfirmed = order.command if order.action is not None and not order.proved else None
    void_after = unconfirmed.expires_at if unconfirmed else None
    return Image(order.epoch, heartbeat, order.action, permit, command_id, void_after)


def may_write(order: Order, found: ReadBack | None, now: datetime) -> bool:
    """`found`: what was read last; None before the first look of this epoch.

    A stop that stands at the line without an order of ours is not ours to take away.
    """
    if order.action is not None:
        return not order.is_void(now) and (found is None or not is_anothers(order, found))
    return found is not None and (not is_anothers(order, found) or _is_a_dead_word_of_ours(order, found))


def is_anothers(order: Order, found: ReadBack) -> bool:
    """Whether a stop stands at the line that this order does not ask for. Neither a REJECT, with which the line would
    run, nor a release is written over one that can't be ours."""
    if order.action is None and not order.may_release:
        return found.stands_stopped
    return found.asks_to_stop and not (order.stops or order.proved or order.over_own)


def applied(order: Order, found: ReadBack) -> bool:
    """Whether the command stands at the line, whichever epoch wrote it: what is looked for once it must not be
    written any more.

    Every signal must agree, as in `matches`. The command word may be no more than the register that Andon wrote, so it
    counts for nothing where the line's own program says otherwise; and a permit or a hold alone may be the watchdog's.
    """
    wanted = image(order, 0, alive=False)
    if found.level is None and (found.reject if wanted.reject else found.stop) is None:
        return False
    permit = found.run_permit if wanted.stop else None  # beside a reject it only tells who watches
    return matches(wanted, replace(found, epoch=None, run_permit=permit))


def _is_a_dead_word_of_ours(order: Order, found: ReadBack) -> bool:
    """A command word of this very epoch, which the line's program never followed: left there, it would stop the line
    whenever the program runs again, for parts long gone."""
    shown = [signal for signal in (found.stop, found.reject, found.held) if signal is not None]
    return found.epoch == order.epoch and bool(shown) and not any(shown)


class Proof(Enum):
    PROVED = auto()
    WRONG = auto()
    """The PLC answered, and stands otherwise."""
    FENCED = auto()
    """A later epoch has written: this worker is no longer the line's."""


def judge(wanted: Image, found: ReadBack) -> Proof:
    if found.is_ahead_of(wanted.epoch):
        return Proof.FENCED
    return Proof.PROVED if matches(wanted, found) else Proof.WRONG
