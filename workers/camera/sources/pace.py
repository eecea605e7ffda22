"""Keeping time without drift."""

import threading
import time

_FORGIVEN_S = 1.0
"""Whoever falls further behind than this starts a new schedule instead of rushing to catch up."""


class Pace:
    """Beat n comes n / fps after the first, however long each one took."""

    def __init__(self, fps: float | None) -> None:
        self._period_s = 1 / fps if fps else 0.0
        self._due_s: float | None = None

    def wait(self, stop: threading.Event) -> bool:
        """Waits for the next beat. False when `stop` was set meanwhile."""
        now_s = time.monotonic()
        if self._due_s is None or now_s - self._due_s > _FORGIVEN_S:
            self._due_s = now_s
        pause_s = self._due_s - now_s
        self._due_s += self._period_s
        return not (stop.wait(pause_s) if pause_s > 0 else stop.is_set())

    def skip(self) -> bool:
        """For sources that set the pace themselves: whether this moment comes before the next beat."""
        now_s = time.monotonic()
        if self._due_s is None or now_s - self._due_s > _FORGIVEN_S:
            self._due_s = now_s
        if now_s < self._due_s:
            return True
        self._due_s += self._period_s
        return False
