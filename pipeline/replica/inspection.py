"""What a replica does with a batch of frames: score → maps to Redis → scores and dead letters to Kafka."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from pipeline.errors import AndonError
from pipeline.events import DeadReason
from pipeline.kafka.dead_letters import dead_letter
from pipeline.kafka.publisher import Publisher, PublishError
from pipeline.kafka.records import Incoming, Outgoing
from pipeline.kafka.step import Backpressure
from pipeline.maps import MapStore, MapStoreError
from pipeline.replica.recipes import Catalog
from pipeline.scoring import Dead, Scored, Scorer
from pipeline.topics import Topics
from pipeline.tracing import headers

BATCH_S = 0.25
"""A batch is made to take no longer, where one frame does not: nobody hears of its first before its last is scored."""
_AT_FIRST = 16
"""So many dead frames are enough while nothing was scored yet. About a batch, since whoever starts the process again
buries fewer than that; not one, or a single bad frame would end every process that meets it."""


class TooManyDeadError(AndonError):
    """So many frames can't be scored that the fault is ours, not the frames'. Better to stop than to bury them all."""


class DeadShare:
    """Watches the share of frames that die of a reason that a bad deployment would cause."""

    def __init__(self, window: int = 200) -> None:
        self._failed: deque[bool] = deque(maxlen=window)
        """Of frames that a model was asked about. A camera without a recipe is none of them: with half of the stream
        it would take all others along, each time that it has filled the window."""
        self._unlived: int | None = 0
        """Deaths before the first score, of an unknown camera, too; None after it."""
        self._last: Dead | None = None

    def add(self, scored: Scored) -> None:
        """Raises TooManyDeadError once the window is full and more than half of it failed, or when the first
        frames of all died. What was added last is not to be delivered then."""
        unknown = [dead for dead in scored.dead if dead.reason is DeadReason.UNKNOWN_CAMERA]
        failed = [dead for dead in scored.dead if dead.reason is DeadReason.SCORING_FAILED]
        self._last = next(reversed(unknown + failed), self._last)
        self._failed.extend([False] * len(scored.scores) + [True] * len(failed))
        if scored.scores:
            self._unlived = None
        elif self._unlived is not None:
            self._unlived += len(unknown) + len(failed)
        if self._last is None:
            return
        if self._unlived is not None and self._unlived >= _AT_FIRST:
            raise _too_many(self._unlived, self._unlived, "first", self._last)
        if len(self._failed) == self._failed.maxlen and sum(self._failed) > len(self._failed) / 2:
            raise _too_many(sum(self._failed), len(self._failed), "last", self._last)


def _too_many(died: int, of: int, which: str, last: Dead) -> TooManyDeadError:
    return TooManyDeadError(
        f"{died} of the {which} {of} frames can't be scored; the last one: {last.reason}: {last.detail}. Those of this "
        "batch stay in Kafka, those before it are dead letters; mend the recipes or the bundle and deploy again."
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
        self._judged_by: Catalog | None = None
        self._buried: Scored | None = None
        """Whose dead letters Kafka has, while it lacks its scores. A delivery is tried again and again."""

    def assigned(self, partitions: Sequence[tuple[str, int]]) -> None:
        """Nothing to forget: a batch holds all that its scores depend on."""

    def work(self, batch: Sequence[Incoming]) -> Scored:
        catalog = self._catalog()
        if catalog != self._judged_by:  # what the former models scored says nothing for the new ones
            self._judged_by, self._dead_share = catalog, DeadShare()
        scored = self._scorer.score(batch, catalog)
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
            if not error.may_pass:
                raise
            raise Backpressure(str(error)) from error
        self._observer.delivered(scored, time.monotonic() - begun)

    def _scores(self, scored: Scored) -> list[Outgoing]:
        topic = self._topics.scores.name
        return [Outgoing(topic, s.line_id.encode(), s.to_json(), headers(s.traceparent)) for s in scored.scores]

    def _dead(self, scored: Scored) -> list[Outgoing]:
        return [dead_letter(d.record, self._topics.frames_dead.name, d.reason, d.detail) for d in scored.dead]
