"""Until when a member of a consumer group may take its partitions for its own.

The broker gives the partitions of a member that is silent for the session time-out to another. A process that was
frozen does not know that when it wakes: its memory says that it still owns them. So what must have one writer goes by
this lease: it runs from the moment *before* a request that the broker answered as to a living member, and is shorter
than the session.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pipeline.boot_time import boot_time_s

SHARE_OF_SESSION = 0.7


class Lease:
    """Renewed by the consumer loop, asked by whoever writes. Thread-safe."""

    def __init__(self, session_timeout_s: float) -> None:
        self.length_s = session_timeout_s * SHARE_OF_SESSION
        self.term = 0
        """Counts how often it began anew. Between two terms another may have written."""
        self._until_s = 0.0
        self._users = 0
        self._idle = threading.Condition()
        self.refresh: Callable[[], bool] = lambda: True
        """Asks the broker now. False where it takes us for no member any more: only who polls joins a group again. For
        the loop's own thread alone: within `assigned`."""

    @property
    def held(self) -> bool:
        return boot_time_s() < self._until_s

    @property
    def due(self) -> bool:
        """Whether it is time to renew it."""
        return self._until_s - boot_time_s() < self.length_s * 0.75

    def renew(self, asked_at_s: float) -> None:
        """`asked_at_s`: `boot_time_s()` before the request that the broker answered."""
        if not self.held:
            self.term += 1
        self._until_s = asked_at_s + self.length_s

    @contextmanager
    def use(self) -> Iterator[None]:
        """While something is being written. `drop` waits for it."""
        with self._idle:
            self._users += 1
        try:
            yield
        finally:
            with self._idle:
                self._users -= 1
                self._idle.notify_all()

    def drop(self, wait_s: float = 1.0) -> None:
        """The partitions go to others: nothing is begun any more. Waits a little for what is under way."""
        self._until_s = 0.0
        with self._idle:
            self._idle.wait_for(lambda: self._users == 0, wait_s)
