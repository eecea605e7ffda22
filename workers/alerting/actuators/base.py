"""What every actuator owes: carry an image of the signals to the PLC, and read back how the line stands."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Protocol

from pipeline.events import Action
from workers.alerting.actuators.config import Codes

READ_AGAIN_S = 0.01

Guard = Callable[[], None]
"""Called right before the first byte of a write leaves. Raises LeaseLostError."""

GivesWay = Callable[[], bool]
"""Whether a stop waits for the end of this exchange, which is none itself."""


class ActuatorError(Exception):
    """The exchange did not come to its end: away, refused, garbled, too slow. Trying again may help."""


class GaveWayError(Exception):
    """A stop goes before the rest of this exchange. What was asked so far was answered."""


class LeaseLostError(Exception):
    """The line may belong to another worker by now, so nothing may be written."""


@dataclass(frozen=True)
class Image:
    """Everything that Andon tells a PLC, as levels. Writing it twice is the same as writing it once."""

    epoch: int
    heartbeat: int
    """Moves only while the line's frames are scored and read. 16 bits, and round again."""
    action: Action | None
    """None: the line may run."""
    run_permit: bool
    """Fail-safe beside `stop`: remote I/O falls to 0 when it loses its master, and 0 means hold."""
    command_id: str | None = None
    void_after: datetime | None = None
    """Of a stop that the line has not confirmed: whoever carries it on must not hand it over later than that."""

    @property
    def stop(self) -> bool:
        return self.action is not None and self.action.stops

    @property
    def reject(self) -> bool:
        return self.action is Action.REJECT

    @property
    def level(self) -> str:
        return self.action.value if self.action else "RUN"


@dataclass(frozen=True)
class ReadBack:
    """How the line stands. None: this PLC has no such signal."""

    level: str | None = None
    """The command word as it stands, by name; `?7` for a code that is not Andon's."""
    stop: bool | None = None
    run_permit: bool | None = None
    reject: bool | None = None
    held: bool | None = None
    """By the PLC's own program."""
    epoch: int | None = None
    heartbeat: int | None = None
    fallen: bool = field(default=False, compare=False)
    """Remote I/O without a program, with every coil at 0: a stop that reads so may be nobody's order."""

    def __str__(self) -> str:
        told = {name: value for name, value in vars(self).items() if value is not None and name != "fallen"}
        return " ".join(f"{name}={_short(value)}" for name, value in told.items())

    def turned(self, inverted: Collection[str]) -> ReadBack:
        """From the wire to the meaning, or back."""
        known = {name: getattr(self, name) for name in inverted}
        changes: dict[str, Any] = {name: not value for name, value in known.items() if value is not None}
        return replace(self, **changes)

    def is_ahead_of(self, epoch: int) -> bool:
        """Whether a later worker has written there."""
        return self.epoch is not None and self.epoch > epoch

    @property
    def stands_stopped(self) -> bool:
        """Whether a signal that a master writes asks the line to stop or to reject. Not `held`: the PLC's own program
        may hold the line because nobody watches it, and that ends only when somebody does."""
        return not self.fallen and bool(self.stop or self.reject or self.level not in (None, "RUN"))

    @property
    def asks_to_stop(self) -> bool:
        """And not only to reject. Of plain coils the stop decides, which may stand beside a reject."""
        if self.fallen:
            return False
        return bool(self.stop) if self.level in (None, "RUN") else self.level != "REJECT"


def never() -> bool:
    return False


class Actuator(Protocol):
    """Used by one thread. Connects by itself, and again after an error. Each wait for a peer ends within the time-out;
    a call may have several: to connect, for each request, and until what was written is read back."""

    @property
    def address(self) -> str:
        """Protocol and place, without secrets."""

    def read(self, gives_way: GivesWay = never) -> ReadBack:
        """One that takes many requests asks `gives_way` before each. Raises ActuatorError, GaveWayError."""

    def exchange(self, image: Image, guard: Guard, gives_way: GivesWay = never) -> ReadBack:
        """Writes the image and reads back; `gives_way` as in `read`. Raises ActuatorError, LeaseLostError,
        GaveWayError."""

    def close(self) -> None:
        """Leaves the signals as they are. Never raises."""


def matches(wanted: Image, found: ReadBack) -> bool:
    """Whether every signal that this PLC has stands as wanted. A line that is free may still be held by its own
    program: nobody restarts it but a person."""
    pairs: list[tuple[object, object]] = [
        (found.level, wanted.level),
        (found.stop, wanted.stop),
        (found.run_permit, wanted.run_permit),
        (found.reject, wanted.reject),
        (found.epoch, wanted.epoch),
    ]
    if wanted.stop:
        pairs.append((found.held, True))
    return all(is_ == should for is_, should in pairs if is_ is not None)


def read_until(
    read: Callable[[], ReadBack], wanted: Image, timeout_s: float, found: ReadBack | None = None
) -> ReadBack:
    """Reads until the line stands as wanted, or a later epoch shows, or the time is over: a PLC has a cycle too.
    `found`: what was read with the write itself."""
    deadline_s = time.monotonic() + timeout_s
    found = found or read()
    while not (found.is_ahead_of(wanted.epoch) or matches(wanted, found) or time.monotonic() >= deadline_s):
        time.sleep(READ_AGAIN_S)
        found = read()
    return found


def on_wire(name: str, value: bool, inverted: Collection[str]) -> bool:
    return value != (name in inverted)


def name_of(codes: Codes, code: int) -> str:
    return next((name for name, number in codes if number == code), f"?{code}")


def _short(value: object) -> object:
    return int(value) if isinstance(value, bool) else value
