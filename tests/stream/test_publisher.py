"""Publishing survives what kills kafka-python's producer."""

import dataclasses
import threading
import time

import pytest
from support.stream import settings_for

from pipeline.kafka.admin import TopicError, check_topics, ensure_topics
from pipeline.kafka.connection import KafkaUnavailableError
from pipeline.kafka.publisher import Publisher, PublishError
from pipeline.kafka.reading import read_to_end
from pipeline.kafka.records import Outgoing
from pipeline.topics import MAX_FRAME_BYTES, topics
from workers.local.kafka_broker import KafkaBroker

pytestmark = pytest.mark.services


def test_a_record_that_the_broker_refuses_does_not_end_publishing(kafka_bootstrap: str, unique: str) -> None:
    settings = settings_for(kafka_bootstrap, unique)
    ensure_topics(settings, settings.topics)
    scores = settings.topics.scores.name
    publisher = Publisher(settings, "test")
    publisher.publish([Outgoing(scores, b"k", b"before")])
    with pytest.raises(PublishError) as refused:
        publisher.publish([Outgoing(scores, b"k", b"x" * (2 * 1024 * 1024))])
    assert not refused.value.retriable
    publisher.publish([Outgoing(scores, b"k", b"after")])
    publisher.close()
    assert [record.value for record in read_to_end(settings, [scores])] == [b"before", b"after"]


def test_the_largest_frame_goes_through(kafka_bootstrap: str, unique: str) -> None:
    settings = settings_for(kafka_bootstrap, unique)
    ensure_topics(settings, settings.topics)
    frames = settings.topics.frames.name
    publisher = Publisher(settings, "test")
    publisher.publish([Outgoing(frames, b"k", b"x" * MAX_FRAME_BYTES, [("h", b"y" * 1000)])])
    publisher.close()
    (record,) = read_to_end(settings, [frames])
    assert len(record.value or b"") == MAX_FRAME_BYTES


def test_closing_while_the_broker_hangs_ends_and_sends_nothing_late(own_kafka: KafkaBroker, unique: str) -> None:
    settings = settings_for(own_kafka.bootstrap, unique)
    ensure_topics(settings, settings.topics)
    publisher = Publisher(settings, "test")
    publisher.publish([Outgoing(settings.topics.scores.name, b"k", b"before")])
    own_kafka.pause()
    outcomes: list[BaseException | None] = []
    publisher.send(Outgoing(settings.topics.heartbeats.name, b"k", b"late"), outcomes.append)
    publisher.close(flush_timeout_s=1)
    own_kafka.resume()
    time.sleep(2)
    assert not [t for t in threading.enumerate() if "kafka" in t.name.lower() and "producer" in t.name.lower()]
    # What the broker had received already it may still write; what was not on the wire never leaves.
    assert len(outcomes) <= 1


def test_a_broker_that_is_away_is_named() -> None:
    settings = settings_for("127.0.0.1:1", "x")
    with pytest.raises(KafkaUnavailableError, match=r"127\.0\.0\.1:1.*KAFKA_BOOTSTRAP"):
        check_topics(settings, settings.topics)


def test_each_wrong_topic_is_named_with_its_mend(kafka_bootstrap: str, unique: str) -> None:
    settings = settings_for(kafka_bootstrap, unique)
    with pytest.raises(TopicError, match=r"frames.*does not exist.*andon topics create"):
        check_topics(settings, settings.topics)
    small = dataclasses.replace(settings.topics.frames, max_message_bytes=1_000_000, partitions=3, broker_time=False)
    ensure_topics(settings, [small])
    with pytest.raises(TopicError) as wrong:
        check_topics(settings, [settings.topics.frames])
    for hint in (
        "has 3 partitions",
        "max.message.bytes to",
        "message.timestamp.type=CreateTime; set it to LogAppendTime",
    ):
        assert hint in str(wrong.value)


def test_ensuring_twice_changes_nothing(kafka_bootstrap: str, unique: str) -> None:
    settings = settings_for(kafka_bootstrap, unique)
    ensure_topics(settings, settings.topics)
    ensure_topics(settings, settings.topics)
    assert len(list(topics(unique))) == 9
