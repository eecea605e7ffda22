"""What the client library can't make out is stepped over, one by one and counted; its neighbours are scored."""

import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import kafka.codec
import pytest
from kafka import KafkaProducer, TopicPartition
from kafka.errors import CorruptRecordError
from kafka.record.default_records import DefaultRecordBatch
from kafka.record.memory_records import MemoryRecords, MemoryRecordsBuilder
from kafka.record.util import calc_crc32c
from support.stream import Nobody, NoStore, NotText, frame, picture, running, scores_in, settings_for, wait_until

from pipeline.audit.accounting import UNKNOWN
from pipeline.audit.take_stock import take_stock
from pipeline.detectors.null import make_null_bundle
from pipeline.events import now
from pipeline.kafka.admin import ensure_topics
from pipeline.kafka.connection import connection
from pipeline.kafka.consumer_groups import committed_offsets
from pipeline.kafka.dead_letters import cause_of_death
from pipeline.kafka.mends.unreadable import incoming, step_over_unreadable
from pipeline.kafka.publisher import Publisher
from pipeline.kafka.reading import read_to_end
from pipeline.kafka.records import Incoming
from pipeline.kafka.step import ConsumerOptions
from pipeline.replica.inspection import Inspection
from pipeline.replica.recipes import Recipe, load_catalog
from pipeline.scoring import Scorer
from pipeline.settings import Settings
from workers.local.kafka_broker import KafkaBroker


def settings_on(bootstrap: str, prefix: str) -> Settings:
    settings = settings_for(bootstrap, prefix, frame_partitions=1)
    ensure_topics(settings, settings.topics)
    return settings


@pytest.fixture
def settings(kafka_bootstrap: str, unique: str) -> Settings:
    return settings_on(kafka_bootstrap, unique)


def send(settings: Settings, sequences: range, *, odd: int | None = None, **options: Any) -> None:
    """As one batch. odd: the frame that gets a header whose name is no UTF-8."""
    camera = KafkaProducer(**connection(settings, "camera"), linger_ms=60_000, batch_size=2**20, **options)
    for sequence in sequences:
        headers = frame(sequence).to_headers() + [(NotText("x"), b"1")] * (sequence == odd)
        camera.send(settings.topics.frames.name, key=b"cam-1", value=picture(seed=sequence), headers=headers)
    camera.flush(timeout=30)
    camera.close()


def score_all(settings: Settings, folder: Path, count: int) -> None:
    """A replica's life, from its start to its end."""
    if not folder.exists():
        make_null_bundle(folder, 32, 32)
    catalog = load_catalog({"null": Recipe(bundle=str(folder), cameras=("*",))})
    publisher = Publisher(settings, "test")
    options = ConsumerOptions(settings.group("inspection"), (settings.topics.frames.name,), max_batch=3, overlap=True)
    with ThreadPoolExecutor(1) as pool:
        step = Inspection(Scorer(pool, now), lambda: catalog, NoStore(), publisher, settings.topics, Nobody())
        with running(settings, options, step) as loop:
            wait_until(lambda: loop.state.records >= count)
    publisher.close()


def scored(settings: Settings) -> list[int]:
    return [score.sequence for score in scores_in(settings)]


def deaths(settings: Settings) -> list[dict[str, str]]:
    """What the dead letters tell; they hold nothing else."""
    letters = list(read_to_end(settings, [settings.topics.frames_dead.name]))
    assert all((letter.key, letter.value) == (None, b"") for letter in letters)
    return sorted((cause_of_death(letter.headers) for letter in letters), key=lambda cause: int(cause["offset"]))


def places(settings: Settings) -> list[tuple[str, str, int]]:
    return [(cause["reason"], cause["topic"], int(cause["offset"])) for cause in deaths(settings)]


@pytest.mark.services
@pytest.mark.parametrize("codec", [None, "gzip"])
def test_a_record_dies_alone_within_its_batch(settings: Settings, tmp_path: Path, codec: str | None) -> None:
    send(settings, range(6), odd=2, compression_type=codec)
    score_all(settings, tmp_path / "null", 6)
    assert scored(settings) == [0, 1, 3, 4, 5]
    assert places(settings) == [("unreadable", settings.topics.frames.name, 2)]
    assert "UnicodeDecodeError" in deaths(settings)[0]["detail"]


@pytest.mark.services
def test_a_batch_that_cannot_be_decompressed_dies_record_by_record(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(settings, range(2))
    send(settings, range(2, 6), compression_type="zstd")
    send(settings, range(6, 9))
    monkeypatch.setattr(kafka.codec, "zstd", None)
    score_all(settings, tmp_path / "null", 9)
    assert scored(settings) == [0, 1, 6, 7, 8]
    assert places(settings) == [("unreadable", settings.topics.frames.name, offset) for offset in range(2, 6)]
    assert "zstd" in deaths(settings)[0]["detail"]


@pytest.mark.services
def test_a_batch_whose_bytes_were_damaged_on_disk_dies_record_by_record(
    own_kafka: KafkaBroker, unique: str, tmp_path: Path
) -> None:
    settings = settings_on(own_kafka.bootstrap, unique)
    send(settings, range(2))
    send(settings, range(2, 4))
    send(settings, range(4, 6))
    own_kafka.stop()
    (segment,) = own_kafka.folder.glob(f"**/{settings.topics.frames.name}-0/*.log")
    damaged = bytearray(segment.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    segment.write_bytes(damaged)
    own_kafka.start()
    score_all(settings, tmp_path / "null", 6)
    assert scored(settings) == [0, 1, 4, 5]
    assert places(settings) == [("unreadable", settings.topics.frames.name, offset) for offset in (2, 3)]


@pytest.mark.services
def test_a_restart_does_not_meet_it_again(settings: Settings, tmp_path: Path) -> None:
    send(settings, range(3), odd=2)
    score_all(settings, tmp_path / "null", 3)
    assert sum(committed_offsets(settings, settings.group("inspection")).values()) == 3
    send(settings, range(3, 4))
    score_all(settings, tmp_path / "null", 1)
    assert scored(settings) == [0, 1, 3]
    assert len(places(settings)) == 1


@pytest.mark.services
def test_the_account_counts_it_once(settings: Settings, tmp_path: Path) -> None:
    """Its camera is not known, and there it is one gap; the sum over all records of the topic comes out."""
    send(settings, range(5), odd=4)
    score_all(settings, tmp_path / "null", 5)
    accounts = {account.camera_id: account for account in take_stock(settings)}
    assert (accounts["cam-1"].captured, accounts["cam-1"].scored) == (4, 4)
    assert accounts[UNKNOWN].dead == {"unreadable": 1}
    assert all(account.balanced for account in accounts.values())


def written(first: int, damage: Callable[[bytearray], None] = lambda batch: None, codec: int = 0) -> bytes:
    """A batch of three records as Kafka keeps it, damaged before its checksum is taken."""
    builder = MemoryRecordsBuilder(magic=2, compression_type=codec, batch_size=2**20)
    for value in (b"a", b"b", b"c"):
        builder.append(timestamp=5, key=None, value=value * 40)
    builder.close()
    batch = bytearray(builder.buffer())
    damage(batch)
    struct.pack_into(">q", batch, 0, first)
    struct.pack_into(
        ">I", batch, DefaultRecordBatch.CRC_OFFSET, calc_crc32c(batch[DefaultRecordBatch.ATTRIBUTES_OFFSET :])
    )
    return bytes(batch)


def read(fetched: bytes) -> list[Incoming]:
    fetcher = SimpleNamespace()
    step_over_unreadable(SimpleNamespace(_fetcher=fetcher))
    part = fetcher.PartitionRecords(0, TopicPartition("frames", 0), MemoryRecords(fetched))
    return [incoming(record) for record in part.take()]


def spoil_a_length(batch: bytearray) -> None:
    batch[batch.index(b"b" * 40) - 6] = 0x01  # -1


def spoil_the_compressed(batch: bytearray) -> None:
    batch[-20:] = bytes(20)


@pytest.mark.unit
@pytest.mark.parametrize(
    ("damage", "codec", "unreadable"),
    [(spoil_a_length, 0, [1, 2]), (spoil_the_compressed, 1, [0, 1, 2])],
    ids=["a length", "compressed bytes"],
)
def test_what_cannot_be_told_apart_dies_with_it_up_to_the_end_of_its_batch(
    damage: Callable[[bytearray], None], codec: int, unreadable: list[int]
) -> None:
    found = read(written(0, damage, codec) + written(3))
    assert [record.offset for record in found] == [0, 1, 2, 3, 4, 5]
    assert [record.offset for record in found if record.unreadable] == unreadable
    assert [record.value for record in found[3:]] == [b"a" * 40, b"b" * 40, b"c" * 40]


@pytest.mark.unit
def test_a_damaged_batch_whose_end_cannot_be_told_is_not_stepped_over() -> None:
    fetched = bytearray(written(0))
    struct.pack_into(">i", fetched, DefaultRecordBatch.ATTRIBUTES_OFFSET + 2, 2**30)
    with pytest.raises(CorruptRecordError, match="the batch at offset 0 is damaged, and where it ends can't be told"):
        read(bytes(fetched))
