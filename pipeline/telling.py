"""Telling a thing again and again, and not each time that it is found."""

import time
from collections.abc import Callable


class Every:
    """Says when it is time to tell. Of one thread."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._told_s = float("-inf")
        self.untold = 0
        """How often it was not told since the last time but one."""
        self._untold = 0

    def due(self) -> bool:
        """At once at first, then not before so many seconds are over."""
        if self._clock() - self._told_s < self._seconds:
            self._untold += 1
            return False
        self._told_s = self._clock()
        self.untold, self._untold = self._untold, 0
        return True
