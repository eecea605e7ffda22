"""Whether Kafka can be written to, as the uplink and the heartbeats agree on it."""

import threading
import time

from pipeline.kafka.publisher import Publisher


class Link:
    """Up while `publisher` is there. Heartbeats bring it up, once Kafka has acknowledged one; either side may find
    it broken. Then that publisher is never used again: its unsent records would overtake newer ones."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._publisher: Publisher | None = None
        self._retired: list[Publisher] = []
        self._changed = threading.Event()
        self._away_since_s: float | None = None

    @property
    def publisher(self) -> Publisher | None:
        return self._publisher

    def up(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self._away_since_s = None

    def refused(self) -> None:
        """An attempt to reach Kafka has failed."""
        if self._away_since_s is None:
            self._away_since_s = time.monotonic()

    @property
    def away_for_s(self) -> float:
        """How long Kafka is known not to take records; 0 while it does, or was not asked yet."""
        return 0.0 if self._away_since_s is None else time.monotonic() - self._away_since_s

    def broke(self, publisher: Publisher) -> None:
        """Returns at once; `close_retired` does the closing, which takes seconds."""
        with self._lock:
            if self._publisher is publisher:
                self._publisher = None
                self.refused()
                self._retired.append(publisher)
                self._changed.set()

    def close_retired(self) -> None:
        with self._lock:
            retired, self._retired = self._retired, []
        for publisher in retired:
            publisher.close(flush_timeout_s=0)

    def wait(self, timeout_s: float) -> None:
        """Until the link breaks or the time is over."""
        self._changed.wait(timeout_s)
        self._changed.clear()

    def wake(self) -> None:
        self._changed.set()
