"""A thread that does not die in silence."""

import logging
import threading
from collections.abc import Callable

log = logging.getLogger(__name__)


class Task:
    """A daemon: a camera driver that hangs must not keep the process from ending."""

    def __init__(self, name: str, work: Callable[[], None], on_error: Callable[[], None]) -> None:
        self.name = name
        self.error: BaseException | None = None
        self._work = work
        self._on_error = on_error
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def join(self, timeout_s: float) -> None:
        self._thread.join(max(0.0, timeout_s))

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as error:
            log.exception("%s ended by an error", self._thread.name)
            self.error = error
            self._on_error()
