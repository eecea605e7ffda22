"""A batch that unpacks to far more than it was takes a bounded part of the memory, dies counted, and alone."""

import gzip
import re
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import kafka.record.default_records as batches
import lz4.frame
import pytest
import snappy
import zstandard
from kafka import KafkaProducer
from kafka.errors import CorruptRecordError
from support.stream import Nobody, NoStore, frame, outgoing, running, scores_in, settings_for, wait_until

from pipeline.audit.take_stock import take_stock
from pipeline.detectors.null import make_null_bundle
from pipeline.events import now
from pipeline.kafka.admin import ensure_topics
from pipeline.kafka.connection import connection
from pipeline.kafka.dead_letters import cause_of_death
from pipeline.kafka.mends.unpacking import MAX_UNPACKED_BYTES, bound_unpacking
from pipeline.kafka.publisher import Publisher
from pipeline.kafka.reading import read_to_end
from pipeline.kafka.step import ConsumerOptions
from pipeline.replica.inspection import Inspection
from pipeline.replica.recipes import Recipe, load_catalog
from pipeline.scoring import Scorer

BOMB_BYTES = 8 * MAX_UNPACKED_BYTES
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "lz4": lz4.frame.compress,
    "snappy": snappy.compress,
    "zstd": zstandard.compress,
}


def decode(codec: str, packed: bytes) -> bytes:
    bound_unpacking()
    return bytes(getattr(batches, f"{codec}_decode")(packed))


@pytest.mark.unit
@pytest.mark.parametrize("codec", PACKERS)
def test_what_is_within_the_bound_is_unpacked_whole(codec: str) -> None:
    for content in (b"", b"small", b"large" * 1_000_000):
        assert decode(codec, PACKERS[codec](content)) == content


@pytest.mark.unit
@pytest.mark.parametrize("codec", ["gzip", "lz4", "zstd"])
def test_no_more_is_unpacked_than_tells_that_it_is_too_much(codec: str) -> None:
    packed = PACKERS[codec](bytes(BOMB_BYTES))
    tracemalloc.start()
    with pytest.raises(CorruptRecordError, match=f"holds more than {MAX_UNPACKED_BYTES} bytes once decompressed"):
        decode(codec, packed)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * MAX_UNPACKED_BYTES


@pytest.mark.unit
def test_snappy_is_bound_too() -> None:
    with pytest.raises(CorruptRecordError):
        decode("snappy", snappy.compress(bytes(MAX_UNPACKED_BYTES + 1)))


@pytest.mark.services
def test_a_batch_beyond_the_bound_dies_alone_and_the_sum_holds(
    kafka_bootstrap: str, unique: str, tmp_path: Path
) -> None:
    settings = settings_for(kafka_bootstrap, unique, frame_partitions=1)
    ensure_topics(settings, settings.topics)
    frames, publisher = settings.topics.frames.name, Publisher(settings, "test")
    publisher.publish([outgoing(frames, frame(0))])
    hostile = KafkaProducer(**connection(settings, "hostile"), compression_type="zstd", max_request_size=BOMB_BYTES)
    hostile.send(frames, key=b"cam-1", value=bytes(2 * MAX_UNPACKED_BYTES)).get(timeout=30)
    hostile.close()
    publisher.publish([outgoing(frames, frame(1))])
    make_null_bundle(tmp_path / "null", 32, 32)
    catalog = load_catalog({"null": Recipe(bundle=str(tmp_path / "null"), cameras=("*",))})
    options = ConsumerOptions(settings.group("andon-inspection"), (frames,), overlap=True)
    with ThreadPoolExecutor(1) as pool:
        step = Inspection(Scorer(pool, now), lambda: catalog, NoStore(), publisher, settings.topics, Nobody())
        with running(settings, options, step) as loop:
            wait_until(lambda: loop.state.records == 3)
    publisher.close()
    assert [score.sequence for score in scores_in(settings)] == [0, 1]
    (dead,) = read_to_end(settings, [settings.topics.frames_dead.name])
    assert cause_of_death(dead.headers)["reason"] == "unreadable"
    assert f"more than {MAX_UNPACKED_BYTES} bytes" in cause_of_death(dead.headers)["detail"]
    accounts = take_stock(settings)
    assert all(account.balanced and not account.in_flight for account in accounts)
    assert sum(account.captured for account in accounts) == 3
    _, odd, _ = read_to_end(settings, [frames])
    assert re.search(r"more than \d+ bytes once decompressed", odd.unreadable or "")
