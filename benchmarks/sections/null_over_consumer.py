"""What a replica does beside the detector, against the least that any consumer does: fetch and decode, on as many
threads."""

import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from statistics import median

from kafka import KafkaConsumer

from benchmarks.contest import Contender, Say, in_turns
from benchmarks.feed import feed
from benchmarks.findings import Finding, Goal, Relation
from benchmarks.pictures import CELL_PX, solar_cells
from benchmarks.replica import POLL_SIZE, decoding_threads, replica_rate
from benchmarks.stage import Stage
from benchmarks.stopwatch import Stopwatch
from pipeline.detectors.null import make_null_bundle
from pipeline.frames import decode
from pipeline.kafka.connection import connection
from pipeline.replica.recipes import Recipe, load_catalog
from pipeline.settings import Settings

_SILENCE_LIMIT = 100
"""So many polls without a record mean that nothing more comes."""


def null_replica_over_bare_consumer(stage: Stage, say: Say) -> list[Finding]:
    pictures = solar_cells(stage.folder, 64)
    bundle = stage.folder / "null-cell"
    make_null_bundle(bundle, CELL_PX, CELL_PX)
    catalog = load_catalog({"null": Recipe(bundle=str(bundle), cameras=("*",))})
    frames = stage.sized(2_000, 400)
    with stage.topics() as settings:
        feed(settings, pictures, frames, "null")
        cpu_ms: dict[str, list[float]] = {}

        def contender(name: str, run: Callable[[], float]) -> Contender:
            def rate() -> float:
                before_s = time.process_time()
                found = run()
                cpu_ms.setdefault(name, []).append((time.process_time() - before_s) * 1000 / frames)
                return found

            return Contender(name, rate)

        replica = contender("replica", lambda: replica_rate(settings, catalog, frames))
        bare = contender("bare consumer", lambda: _bare_rate(settings, frames))
        rates = in_turns((replica, bare), "frames/s", stage.sized(9, 2), say)
    facts = {
        "frames": frames,
        "batch": POLL_SIZE,
        "threads": decoding_threads(),
        "cpu_ms_per_frame": {name: round(median(found), 3) for name, found in cpu_ms.items()},
    }
    return [rates.ratio("null_replica_over_bare_consumer", replica, bare, Goal(Relation.AT_LEAST, 0.6), **facts)]


def _bare_rate(settings: Settings, frames: int) -> float:
    """Poll, decode, poll. The fetch settings are those of the exact-commit loop, the threads a replica's."""
    topic = settings.topics.frames.name
    consumer = KafkaConsumer(
        topic,
        **connection(settings, "bench-bare"),
        group_id=f"bench-{secrets.token_hex(3)}",
        allow_auto_create_topics=False,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        fetch_max_bytes=64 * 1024 * 1024,
        fetch_max_wait_ms=200,
        max_partition_fetch_bytes=8 * 1024 * 1024,
        max_poll_records=POLL_SIZE,
    )
    watch = Stopwatch(frames)
    silent = 0
    pool = ThreadPoolExecutor(decoding_threads(), "decode")
    try:
        while not watch.complete and silent < _SILENCE_LIMIT:
            polled = consumer.poll(timeout_ms=200)
            batch = [record for records in polled.values() for record in records]
            silent = 0 if batch else silent + 1
            if batch:
                watch.batch(len(batch))
                for _ in pool.map(lambda record: decode(record.value, "gray"), batch):
                    pass
    finally:
        pool.shutdown()
        consumer.close(autocommit=False, timeout_ms=5_000)
    return watch.frames_per_s
