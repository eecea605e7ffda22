"""A dead letter holds all of its frame that its topic takes, and tells of what it does not hold."""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.record.default_records import DefaultRecordBatchBuilder
from support.stream import (
    Nobody,
    NoStore,
    frame,
    incoming,
    outgoing,
    picture,
    running,
    scores_in,
    settings_for,
    wait_until,
)

from pipeline.detectors.null import make_null_bundle
from pipeline.events import DeadReason, now
from pipeline.kafka.admin import ensure_topics
from pipeline.kafka.connection import connection
from pipeline.kafka.consumer_groups import committed_offsets
from pipeline.kafka.dead_letters import cause_of_death, dead_letter
from pipeline.kafka.publisher import Publisher, PublishError
from pipeline.kafka.reading import read_to_end
from pipeline.kafka.records import Outgoing
from pipeline.kafka.step import Backpressure, ConsumerOptions
from pipeline.replica.inspection import Inspection, TooManyDeadError
from pipeline.replica.recipes import Catalog, Recipe, load_catalog
from pipeline.scoring import Scorer
from pipeline.settings import Settings
from pipeline.topics import MAX_DEAD_RECORD_BYTES, MAX_FRAME_RECORD_BYTES, Topic, topics

MIB = 1024 * 1024


def letter(value: bytes, headers: Sequence[tuple[str, bytes | None]] = (), key: bytes = b"cam-1") -> Outgoing:
    record = incoming(frame(0), value, headers=tuple(headers), key=key)
    return dead_letter(record, "frames.dead", DeadReason.TOO_LARGE, "detail")


@pytest.mark.unit
def test_what_came_through_the_topic_of_frames_uncompressed_is_kept_whole() -> None:
    value = b"x" * (MAX_FRAME_RECORD_BYTES - 200)
    dead = letter(value, [("a", b"b" * 100)])
    assert (dead.key, dead.value, dead.headers[0]) == (b"cam-1", value, ("a", b"b" * 100))
    assert "truncated" not in cause_of_death(dead.headers)


@pytest.mark.unit
@pytest.mark.parametrize(
    ("key", "headers", "value", "truncated"),
    [
        (b"cam-1", [("a", b"b")], 10 * MIB, "value"),
        (b"cam-1", [("a", b"b" * 10 * MIB), ("c", b"d")], 5, "headers"),
        (b"cam-1", [("n" * 10 * MIB, b"")], 10 * MIB, "headers, value"),
        (b"cam-1", [("", b"")] * 2 * MIB, 5, "headers"),
        (b"k" * 10 * MIB, [("a", b"b")], 5, "key, headers, value"),
        (b"cam-1", [("a", None)], 10 * MIB, "value"),
    ],
    ids=["value", "a header", "a header's name", "many headers", "key", "null header"],
)
def test_what_its_topic_does_not_take_is_cut_and_told(
    key: bytes, headers: list[tuple[str, bytes | None]], value: int, truncated: str
) -> None:
    dead = letter(b"x" * value, headers, key)
    assert sum(len(v or b"") for _, v in dead.headers) + len(dead.value or b"") < MAX_DEAD_RECORD_BYTES
    cause = cause_of_death([(name, v or b"") for name, v in dead.headers])
    assert cause["truncated"] == truncated
    assert cause["bytes"] == str(value)
    assert cause["reason"] == "too_large"


@pytest.mark.unit
def test_a_record_without_key_and_value_leaves_what_the_client_library_sends() -> None:
    dead = dead_letter(incoming(frame(0), None, key=None), "frames.dead", DeadReason.CONTRACT, "detail")
    assert (dead.key, dead.value) == (None, b"")
    assert "truncated" not in cause_of_death(dead.headers)


@pytest.fixture
def settings(kafka_bootstrap: str, unique: str) -> Settings:
    settings = settings_for(kafka_bootstrap, unique, frame_partitions=1)
    ensure_topics(settings, settings.topics)
    return settings


@pytest.fixture
def inspection(settings: Settings, tmp_path: Path) -> Iterator[Inspection]:
    make_null_bundle(tmp_path / "null", 32, 32)
    catalog: Catalog = load_catalog({"null": Recipe(bundle=str(tmp_path / "null"), cameras=("*",))})
    publisher = Publisher(settings, "test")
    with ThreadPoolExecutor(1) as pool:
        yield Inspection(Scorer(pool, now), lambda: catalog, NoStore(), publisher, settings.topics, Nobody())
    publisher.close()


class Refuses:
    """As a broker that refuses Write on one topic."""

    def __init__(self, topic: str) -> None:
        self.taken: list[str] = []
        self._topic = topic

    def publish(self, records: Sequence[Outgoing], timeout_s: float = 30) -> None:
        if any(record.topic == self._topic for record in records):
            raise PublishError("Kafka refuses us the right Write", retriable=False, refused=True)
        self.taken += [record.topic for record in records]


@pytest.mark.unit
@pytest.mark.parametrize(("refused", "taken"), [("frames.dead", []), ("scores", ["frames.dead"])])
def test_a_replica_that_lacks_a_right_waits_and_repeats_nothing_meanwhile(
    refused: str, taken: list[str], tmp_path: Path
) -> None:
    """It ended, and so did the next, every 11 s; then it wrote its dead letters again every 2 s."""
    make_null_bundle(tmp_path / "null", 32, 32)
    catalog = load_catalog({"null": Recipe(bundle=str(tmp_path / "null"), cameras=("*",))})
    names = topics("", frame_partitions=1, line_partitions=1)
    kafka: Any = Refuses(refused)
    with ThreadPoolExecutor(1) as pool:
        step = Inspection(Scorer(pool, now), lambda: catalog, NoStore(), kafka, names, Nobody())
        scored = step.work([incoming(frame(0), picture()), incoming(frame(1), b"no picture", offset=1)])
        assert (len(scored.scores), len(scored.dead)) == (1, 1)
        for _ in range(3):
            with pytest.raises(Backpressure, match="the right Write"):
                step.deliver(scored)
    assert kafka.taken == taken


@pytest.mark.services
@pytest.mark.parametrize("name", ["frames_dead", "scores"])
def test_a_replica_whose_topic_takes_no_such_record_any_more_waits_for_its_limit(
    name: str, settings: Settings, inspection: Inspection
) -> None:
    """It ended with a trace, which named an error of Kafka's and no mend."""
    topic: Topic = getattr(settings.topics, name)
    frames = settings.topics.frames.name
    options = ConsumerOptions(settings.group("inspection"), (frames,), overlap=True)
    publisher = Publisher(settings, "test")
    set_limit(settings, topic, 100)
    with running(settings, options, inspection) as loop:
        publisher.publish([outgoing(frames, frame(0)), outgoing(frames, frame(1), b"no picture")])
        wait_until(lambda: loop.state.waiting_for is not None)
        assert f"to {topic.name!r} was not taken" in str(loop.state.waiting_for)
        assert "`andon topics check`" in str(loop.state.waiting_for)
        set_limit(settings, topic, topic.max_message_bytes)
        wait_until(lambda: loop.state.records == 2)
    publisher.close()
    assert [score.sequence for score in scores_in(settings)] == [0]
    assert len(list(read_to_end(settings, [settings.topics.frames_dead.name]))) == 1


def set_limit(settings: Settings, topic: Topic, bytes_: int) -> None:
    client = KafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap.split(","))
    limit = {"max.message.bytes": str(bytes_)}
    client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic.name, configs=limit)])
    client.close()


class Null(bytes):
    """The value of a header that has none, which kafka-python itself sends to nobody."""


@pytest.mark.services
def test_a_header_without_a_value_ends_no_replica(
    settings: Settings, inspection: Inspection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a Java client writes it. Each replica that read it died of its dead letter, and the next one too."""
    append = DefaultRecordBatchBuilder.append

    def with_null(self: Any, offset: int, timestamp: int, key: bytes, value: bytes, headers: Any, **more: Any) -> Any:
        sent = [(name, None if isinstance(text, Null) else text) for name, text in headers]
        return append(self, offset, timestamp, key, value, sent, **more)

    frames = settings.topics.frames.name
    publisher = Publisher(settings, "test")
    with monkeypatch.context() as patch:
        patch.setattr(DefaultRecordBatchBuilder, "append", with_null)
        foreign = Outgoing(frames, b"cam-1", picture(), [("camera_id", Null()), ("x", b"y")])
        with_more = Outgoing(frames, b"cam-1", picture(), [*frame(0).to_headers(), ("of-an-agent", Null())])
        publisher.publish([foreign, with_more])
    publisher.close()
    options = ConsumerOptions(settings.group("inspection"), (frames,), overlap=True)
    with running(settings, options, inspection) as loop:
        wait_until(lambda: loop.state.records == 2)
    assert [score.sequence for score in scores_in(settings)] == [0]
    (dead,) = read_to_end(settings, [settings.topics.frames_dead.name])
    assert cause_of_death(dead.headers)["reason"] == "contract"
    assert dict(dead.headers)["camera_id"] == b""


@pytest.mark.services
def test_a_frame_that_is_huge_once_decompressed_dies_once_and_the_stream_goes_on(
    settings: Settings, inspection: Inspection
) -> None:
    frames = settings.topics.frames.name
    camera = KafkaProducer(**connection(settings, "camera"), compression_type="gzip", max_request_size=64 * MIB)
    for sequence, value in enumerate([picture(), bytes(10 * MIB), picture()]):
        facts = frame(sequence)
        camera.send(frames, key=b"cam-1", value=value, headers=facts.to_headers()).get(timeout=30)
    camera.close()
    options = ConsumerOptions(settings.group("inspection"), (frames,), overlap=True)
    with running(settings, options, inspection) as loop:
        wait_until(lambda: loop.state.records == 3)
    assert [score.sequence for score in scores_in(settings)] == [0, 2]
    (dead,) = read_to_end(settings, [settings.topics.frames_dead.name])
    cause = cause_of_death(dead.headers)
    assert (cause["reason"], cause["truncated"], cause["bytes"]) == ("too_large", "value", str(10 * MIB))
    assert set(frame(1).to_headers()[:4]) <= set(dead.headers)
    assert sum(committed_offsets(settings, options.group).values()) == 3


@pytest.mark.services
def test_a_replica_that_can_score_nothing_buries_one_frame_a_start(settings: Settings) -> None:
    frames = settings.topics.frames.name
    publisher = Publisher(settings, "test")
    publisher.publish([outgoing(frames, frame(sequence)) for sequence in range(40)])
    options = ConsumerOptions(settings.group("inspection"), (frames,), overlap=True)
    with ThreadPoolExecutor(1) as pool:
        for _ in range(3):
            step = Inspection(Scorer(pool, now), lambda: Catalog({}), NoStore(), publisher, settings.topics, Nobody())
            ended = threading.Event()
            with pytest.raises(TooManyDeadError), running(settings, options, step, ended):
                assert ended.wait(30)
    publisher.close()
    # The first batch is one frame. The second brings more than a process may bury before it has scored any.
    letters = list(read_to_end(settings, [settings.topics.frames_dead.name]))
    assert len({cause_of_death(letter.headers)["offset"] for letter in letters}) <= 3
    assert sum(committed_offsets(settings, options.group).values()) <= 3
