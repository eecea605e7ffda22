"""A replica as `pipeline.serving` builds it, in this process and without Ray around it."""

import os
import secrets
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from benchmarks.stopwatch import Stopwatch
from pipeline.groups import INSPECTION
from pipeline.kafka.consumer import ConsumerLoop
from pipeline.kafka.publisher import Publisher
from pipeline.kafka.records import Incoming
from pipeline.kafka.step import ConsumerOptions, Step
from pipeline.maps import MapStore
from pipeline.replica.inspection import BATCH_S, Inspection
from pipeline.replica.recipes import Catalog
from pipeline.scoring import Scored, Scorer
from pipeline.settings import Settings

POLL_SIZE = 16
"""The default of `ServingConfig.max_batch`."""
_LIMIT_S = 300.0


def decoding_threads() -> int:
    """As pipeline.serving has them."""
    return os.cpu_count() or 2


class _NoMeters:
    def delivered(self, scored: Scored, deliver_s: float) -> None:
        pass


class _Timed:
    """The step with a stopwatch in front, and an end."""

    def __init__(self, step: Step[Scored], on_batch: Callable[[int], bool], stop: threading.Event) -> None:
        self._step = step
        self._on_batch = on_batch
        self._stop = stop

    def assigned(self, partitions: Sequence[tuple[str, int]]) -> None:
        self._step.assigned(partitions)

    def work(self, batch: Sequence[Incoming]) -> Scored:
        if self._on_batch(len(batch)):
            self._stop.set()
        return self._step.work(batch)

    def deliver(self, result: Scored) -> None:
        self._step.deliver(result)


def run_replica(settings: Settings, catalog: Catalog, on_batch: Callable[[int], bool]) -> None:
    """Consumes frames from the beginning until `on_batch`, told the size of each new batch, returns True, or the
    time is over. That last batch is still delivered and committed."""
    stop = threading.Event()
    store = MapStore(settings.redis_address)
    publisher = Publisher(settings, INSPECTION)
    pool = ThreadPoolExecutor(decoding_threads(), "decode")
    step = Inspection(Scorer(pool, store.expires_at), lambda: catalog, store, publisher, settings.topics, _NoMeters())
    group = f"{settings.group(INSPECTION)}-{secrets.token_hex(3)}"
    options = ConsumerOptions(
        group, (settings.topics.frames.name,), max_batch=POLL_SIZE, batch_within_s=BATCH_S, overlap=True
    )
    give_up = threading.Timer(_LIMIT_S, stop.set)
    give_up.start()
    try:
        ConsumerLoop(settings, options, _Timed(step, on_batch, stop), stop).run()
    finally:
        give_up.cancel()
        publisher.close()
        store.close()
        pool.shutdown()


def replica_rate(settings: Settings, catalog: Catalog, frames: int) -> float:
    """Frames/s over the first so many frames of the topic. Raises RuntimeError when they do not come in time."""
    watch = Stopwatch(frames)

    def on_batch(size: int) -> bool:
        watch.batch(size)
        return watch.complete

    run_replica(settings, catalog, on_batch)
    return watch.frames_per_s
