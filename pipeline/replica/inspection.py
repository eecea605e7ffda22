"""What a replica does with a batch of frames: score → maps to Redis → scores and dead letters to Kafka."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from pipeline.errors import AndonError
from pipeline.events import DeadReason
from pipeline.kafka.consumer import Backpressure
from pipeline.kafka.dead_letters import dead_letter
from pipeline.kafka.publisher import Publisher, PublishError
from pipeline.kafka.records import Incoming, Outgoing
from pipeline.maps import MapStore, MapStoreError
from pipeline.replica.recipes import Catalog
from pipeline.scoring import Dead, Scored, Scorer
from pipeline.topics import Topics
from pipeline.tracing import headers


class TooManyDeadError(AndonError):
    """So many frames can't be scored that the fault is ours, not the frames'. Better to stop than to bury them all."""


class DeadShare:
    """Watches the share of frames that die of a reason that a bad deployment would cause."""

    OURS = frozenset({DeadReason.SCORING_FAILED, DeadReason.UNKNOWN_CAMERA})

    def __init__(self, limit: float = 0.5, window: int = 200, at_first: int = 16) -> None:
        """at_first: so many end a process that has scored nothing yet. About a batch, since whoever starts it again
        buries fewer than that; not one, or a single bad frame would end every process that meets it."""
        self._limit = limit
        self._at_first = at_first
        self._recent: deque[bool] = deque(maxlen=window)
        self._has_scored = False
        self._last: Dead | None = None

    def add(self, scored: Scored) -> None:
        """Raises TooManyDeadError once the window is full and more than the limit of it died, or when the first frames
        of this process did. What was added last is not to be delivered then."""
        self._has_scored |= bool(scored.scores)
        self._recent.extend(False for _ in scored.scores)
        for dead in scored.dead:
            is_ours = dead.reason in self.OURS
            self._recent.append(is_ours)
            self._last = dead if is_ours else self._last
        died, full = sum(self._recent), len(self._recent) == self._recent.maxlen
        too_many = full and died > self._limit * len(self._recent)
        none_lived = not self._has_scored and died >= self._at_first
        if self._last and (too_many or none_lived):
            raise TooManyDeadError(
                f"{died} of the last {len(self._recent)} frames can't be scored; the last one: {self._last.reason}: "
                f"{self._last.detail}. Those of this batch stay in Kafka, those before it are dead letters; mend the "
                "recipes or the bundle and deploy again."
            )


class Observer(Protocol):
    """Told of every delivered batch."""

    def delivered(self, scored: Scored, deliver_s: float) -> None: ...


class Inspection:
    """The replica's `Step`. Maps go first: a score never points to a map that is not there."""

    def __init__(
        self,
        scorer: Scorer,
        catalog: Callable[[], Catalog],
        store: MapStore,
        publisher: Publisher,
        topics: Topics,
        observer: Observer,
    ) -> None:
        self._scorer = scorer
        self._catalog = catalog
        self._store = store
        self._publisher = publisher
        self._topics = topics
        self._observer = observer
        self._dead_share = DeadShare()
        self._buried: Scored | None = None
        """Whose dead letters Kafka has, while it lacks its scores. A delivery is tried again and again."""

    def assigned(self, partitions: Sequence[tuple[str, int]]) -> None:
        """Nothing to forget: a batch holds all that its scores depend on."""

    def work(self, batch: Sequence[Incoming]) -> Scored:
        scored = self._scorer.score(batch, self._catalog())
        self._dead_share.add(scored)
        return scored

    def deliver(self, scored: Scored) -> None:
        begun = time.monotonic()
        try:
            self._store.put(scored.maps)
            # Apart, and first: while we may write no dead letter, no score is sent again and again.
            if scored is not self._buried and (dead := self._dead(scored)):
                self._publisher.publish(dead)
            self._buried = scored
            self._publisher.publish(self._scores(scored))
            self._buried = None  # its maps are many megabytes
        except MapStoreError as error:
            raise Backpressure(str(error)) from error
        except PublishError as error:
            # Who ends for want of a right is started again, meets the same frame, and ends again.
            if not (error.retriable or error.refused):
                raise
            raise Backpressure(str(error)) from error
        self._observer.delivered(scored, time.monotonic() - begun)

    def _scores(self, scored: Scored) -> list[Outgoing]:
        topic = self._topics.scores.name
        return [Outgoing(topic, s.line_id.encode(), s.to_json(), headers(s.traceparent)) for s in scored.scores]

    def _dead(self, scored: Scored) -> list[Outgoing]:
        return [dead_letter(d.record, self._topics.frames_dead.name, d.reason, d.detail) for d in scored.dead]
