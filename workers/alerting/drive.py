"""What to write to a PLC, and what its answer means. Pure; `driver.py` does it."""

from dataclasses import dataclass
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

    @property
    def action(self) -> Action | None:
        if self.command is None or self.command.action is Action.UNHOLD_PERMITTED:
            return None
        return self.command.action

    @property
    def may_release(self) -> bool:
        """Whether a person has reset what Andon asked for. Nothing else takes a stop back."""
        return self.command is not None and self.command.action is Action.UNHOLD_PERMITTED


def image(order: Order, heartbeat: int, *, alive: bool) -> Image:
    permit = order.action not in (Action.HOLD, Action.STOP) and (alive or order.on_loss is OnLoss.RUN_WITH_ALARM)
    command_id = str(order.command.command_id) if order.command else None
    return Image(order.epoch, heartbeat, order.action, permit, command_id)


def may_write(order: Order, found: ReadBack | None, now: datetime) -> bool:
    """`found`: what was read last; None before the first look of this epoch.

    A stop that is void and was never read back must not stop the line now; and a stop that stands at the line without
    an order of ours is not ours to take away.
    """
    if order.action is not None:
        return order.proved or (order.command is not None and now <= order.command.expires_at)
    return order.may_release or (found is not None and not found.stands_stopped)


def applied(order: Order, found: ReadBack) -> bool:
    """Whether the command stands at the line, whichever epoch wrote it: what is looked for once it must not be
    written any more."""
    if order.action is Action.REJECT:
        return bool(found.reject) or found.level == Action.REJECT
    return bool(found.stop or found.level in (Action.HOLD, Action.STOP))


class Verdict(Enum):
    PROVED = auto()
    WRONG = auto()
    """The PLC answered, and stands otherwise."""
    FENCED = auto()
    """A later epoch has written: this worker is no longer the line's."""


def judge(wanted: Image, found: ReadBack) -> Verdict:
    if found.epoch is not None and found.epoch > wanted.epoch:
        return Verdict.FENCED
    return Verdict.PROVED if matches(wanted, found) else Verdict.WRONG
