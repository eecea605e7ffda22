"""What the local Kafka and the local Valkey have in common: a child process that answers on a port."""

import shutil
import time
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Self

from workers.local.errors import ServiceError
from workers.local.ports import LOOPBACK, is_free
from workers.local.process import ChildProcess

_POLL_S = 0.05
_FULL_BYTES = 4 * 1024 * 1024
"""With less than this a disk counts as full: a broker that found no room for a file leaves what is too small for it."""


class LocalServer(ABC):
    """A server that may be started, stopped, killed, paused and started again: on the same port, with the same data."""

    name: str
    port: int
    log: Path
    _stop_grace_s: float
    _start_timeout_s = 60.0
    _advice = "If its data is damaged or of another version, remove it with `andon local clean` and start again"

    def __init__(self) -> None:
        self._child: ChildProcess | None = None

    @abstractmethod
    def _launch(self) -> ChildProcess:
        """Start the process; return at once."""

    @abstractmethod
    def _answers(self, timeout_s: float) -> bool:
        """Whether it serves a real request."""

    @property
    def pid(self) -> int:
        return self._running_child().pid

    @property
    def running(self) -> bool:
        return self._child is not None and self._child.running

    @property
    def paused(self) -> bool:
        return self._child is not None and self._child.paused

    @property
    def full_disk(self) -> str:
        """What to do where a disk is full, which ends a broker and leaves it no room to say so; else nothing."""
        for folder in self._writes_in:
            try:
                free = shutil.disk_usage(folder).free
            except OSError:
                continue
            if free < _FULL_BYTES:
                return f"The disk that holds {folder} is full: make room on it and start again. The data is kept"
        return ""

    @property
    def _writes_in(self) -> tuple[Path, ...]:
        return (self.log.parent,)

    def start(self, timeout_s: float | None = None) -> None:
        """Start it and return once it serves requests."""
        self.launch()
        self.wait_until_it_answers(timeout_s)

    def launch(self) -> None:
        """Start the process and return at once, so that others can start beside it."""
        if self.running:
            raise ServiceError(f"{self.name} runs already on {LOOPBACK}:{self.port}: stop it first")
        if not is_free(self.port):
            raise ServiceError(
                f"{self.name} cannot start: port {self.port} on {LOOPBACK} is in use by another program. "
                "Stop that program, or name another port"
            )
        self._child = self._launch()

    def wait_until_it_answers(self, timeout_s: float | None = None) -> None:
        """After `launch`. Raises ServiceError, with the process stopped, when it ends or takes too long."""
        child = self._running_child() if self._child is None else self._child
        try:
            self._wait(child, timeout_s or self._start_timeout_s)
        except BaseException:
            child.stop(self._stop_grace_s)
            raise

    def ask_to_end(self) -> None:
        """Return at once; `stop` waits for the end. So several servers can end beside each other."""
        if self._child is not None:
            self._child.ask_to_end()

    def stop(self) -> None:
        """End it in order; killed when it does not end within its grace. Stopping twice is fine."""
        if self._child is not None and self._child.running:
            self._child.stop(self._stop_grace_s)

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        self._running_child().kill()

    def pause(self) -> None:
        self._running_child().pause()

    def resume(self) -> None:
        self._running_child().resume()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _running_child(self) -> ChildProcess:
        if self._child is None or not self._child.running:
            raise ServiceError(f"{self.name} is not running: start it first")
        return self._child

    def _wait(self, child: ChildProcess, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while child.running and (left_s := deadline - time.monotonic()) > 0:
            if self._answers(min(left_s, 5.0)):
                return
            time.sleep(_POLL_S)
        what = f"did not answer within {timeout_s:g} s" if child.running else f"ended with exit code {child.exit_code}"
        advice = self.full_disk or self._advice
        raise ServiceError(f"{self.name} {what}. Its last lines, from {self.log}:\n{child.log_tail()}\n{advice}")
