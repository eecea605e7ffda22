"""The program of one line's PLC, as few rungs as a plant would need. Pure but for its own memory; no sockets.

    stop      = command is HOLD or STOP                          (a level, as written)
    held      = (stop, or watchdog lost where the plant holds on loss), latched until the reset button
    running   = started by the start button, falls with held or a missing permit
    watchdog  = the heartbeat must move once it has begun to

What a lower epoch writes is refused as a whole. A reset never starts the line.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

RUN, HOLD, STOP, REJECT = range(4)
LEVELS = ("RUN", "HOLD", "STOP", "REJECT")


@dataclass(frozen=True)
class Inputs:
    """What the master wrote last, and was accepted."""

    epoch: int = 0
    heartbeat: int = 0
    command: int = RUN
    permit: bool = True

    @property
    def level(self) -> str:
        """By OPC UA or Modbus anybody may have written any word."""
        return LEVELS[self.command] if 0 <= self.command < len(LEVELS) else f"?{self.command}"


@dataclass(frozen=True)
class Event:
    at_s: float
    text: str


@dataclass
class Ladder:
    """One line. Every method may be called from any thread."""

    line_id: str
    watchdog_s: float = 3.0
    hold_on_loss: bool = True
    clock: Callable[[], float] = time.monotonic
    inputs: Inputs = Inputs()
    held: bool = False
    running: bool = True
    watchdog_lost: bool = False
    stuck: bool = False
    """A fault to try: the outputs do not follow any more."""
    inverted: frozenset[str] = frozenset()
    """Signals that are wired the other way round: stop, run_permit, reject, held. The rungs go by the meaning."""
    stops: int = 0
    """How often the master has stopped the line."""
    refused: int = 0
    written: deque[Inputs] = field(default_factory=lambda: deque(maxlen=1000))
    """What was accepted, each change once. For tests."""
    events: deque[Event] = field(default_factory=lambda: deque(maxlen=200))
    told: int = 0
    """Events ever, with those that have made room."""
    _beat_at_s: float | None = None
    _lock: threading.RLock = field(default_factory=threading.RLock)

    @property
    def stop(self) -> bool:
        return self.inputs.command in (HOLD, STOP) and not self.stuck

    @property
    def reject(self) -> bool:
        return self.inputs.command == REJECT and not self.stuck

    @property
    def permit(self) -> bool:
        return self.inputs.permit

    def wire(self, signal: str, value: bool) -> bool:
        """From the meaning to the wire, and from the wire to the meaning."""
        return value != (signal in self.inverted)

    def write(self, new: Inputs) -> bool:
        """Whether it was accepted."""
        with self._lock:
            if new.epoch < self.inputs.epoch:
                self.refused += 1
                self._tell(f"refused epoch {new.epoch}: epoch {self.inputs.epoch} has written")
                return False
            old, self.inputs = self.inputs, new
            if new.heartbeat != old.heartbeat:
                self._beat_at_s = self.clock()
            if (new.epoch, new.command, new.permit) != (old.epoch, old.command, old.permit):
                self.written.append(new)
                permit = "" if new.permit else ", no permit"
                self._tell(f"epoch {new.epoch}: {new.level}{permit}")
            if new.command in (HOLD, STOP) and old.command not in (HOLD, STOP):
                self.stops += 1
            self.scan()
            return True

    def scan(self) -> None:
        """One cycle."""
        with self._lock:
            lost = self._beat_at_s is not None and self.clock() - self._beat_at_s > self.watchdog_s
            if lost != self.watchdog_lost:
                self.watchdog_lost = lost
                self._tell("watchdog LOST: nobody watches this line" if lost else "watchdog is back")
            if self.stop or (lost and self.hold_on_loss):
                self._hold()
            if self.running and (self.held or not self.inputs.permit):
                self.running = False
                self._tell("line stands")

    def press_reset(self) -> None:
        with self._lock:
            if self.held and not self.stop and not (self.watchdog_lost and self.hold_on_loss):
                self.held = False
                self._tell("reset; the line stands until it is started")

    def press_start(self) -> None:
        with self._lock:
            if not self.held and self.inputs.permit and not self.running:
                self.running = True
                self._tell("line started")

    def history(self) -> tuple[list[Event], int]:
        """The newest events, and how many there ever were."""
        with self._lock:
            return list(self.events), self.told

    def _hold(self) -> None:
        if not self.held and not self.stuck:
            self.held = True
            self._tell("HELD")

    def _tell(self, text: str) -> None:
        self.events.append(Event(self.clock(), text))
        self.told += 1
