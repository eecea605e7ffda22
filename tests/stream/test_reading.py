"""Topics are read to their end also while brokers are restarted one after the other, and followed whatever becomes of
them."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import islice
from typing import Any

import pytest
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaConnectionError
from support.stream import make_anew, send_unreadable, settings_for

from pipeline.kafka import reading
from pipeline.kafka.admin import Admin, delete_topics, ensure_topics
from pipeline.kafka.connection import connection
from pipeline.kafka.mends.metadata import ask_for_partitions
from pipeline.kafka.opening import open_consumer
from pipeline.kafka.publisher import Publisher
from pipeline.kafka.records import Incoming, Outgoing
from pipeline.settings import Settings

pytestmark = pytest.mark.services


def hanging_up_once(ask: Callable[..., Any]) -> Callable[..., Any]:
    """As a broker does that is shut down, or that holds new connections off by a quota."""
    left = [KafkaConnectionError("111 ECONNREFUSED")]

    def hang_up(*arguments: Any, **options: Any) -> Any:
        if left:
            raise left.pop()
        return ask(*arguments, **options)

    return hang_up


@pytest.mark.parametrize("call", ["metadata", "poll", "position"])
def test_a_broker_that_hangs_up_ends_no_reading(
    call: str, kafka_bootstrap: str, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`andon audit` reads for minutes on a large plant: of six audits during a rolling restart three told nothing."""
    settings = settings_for(kafka_bootstrap, unique, frame_partitions=1)
    topic = settings.topics.frames
    ensure_topics(settings, [topic])
    with closing(Publisher(settings, "test")) as publisher:
        publisher.publish(Outgoing(topic.name, b"k", bytes([i])) for i in range(5))
    owner, name = (reading, "ask_for_partitions") if call == "metadata" else (KafkaConsumer, call)
    monkeypatch.setattr(owner, name, hanging_up_once(getattr(owner, name)))
    assert [record.offset for record in reading.read_to_end(settings, [topic.name])] == list(range(5))


@pytest.fixture
def settings(kafka_bootstrap: str, unique: str) -> Settings:
    settings = settings_for(kafka_bootstrap, unique, frame_partitions=1)
    ensure_topics(settings, [settings.topics.frames])
    return settings


def send(settings: Settings, *values: bytes, keys: int = 1) -> None:
    with closing(Publisher(settings, "test")) as publisher:
        topic = settings.topics.frames.name
        publisher.publish(Outgoing(topic, b"%d" % key, value) for value in values for key in range(keys))


def following(settings: Settings) -> Iterator[Incoming]:
    """Ends by itself, with less than was waited for, where nothing comes."""
    stop = threading.Event()
    limit = threading.Timer(120, stop.set)
    limit.daemon = True
    limit.start()
    return reading.follow(settings, [settings.topics.frames.name], stop, from_beginning=True)


def test_what_cannot_be_read_is_told_and_passed(settings: Settings) -> None:
    """One such record kept a page for ever at what it had read before, and alerting at heartbeats of long ago."""
    send(settings, b"before")
    send_unreadable(settings, settings.topics.frames.name)
    send(settings, b"after")
    for found in (following(settings), reading.read_to_end(settings, [settings.topics.frames.name])):
        before, odd, after = islice(found, 3)
        assert (before.value, odd.value, after.value) == (b"before", None, b"after")
        assert "UnicodeDecodeError" in (odd.unreadable or "")


def test_partitions_that_are_added_are_followed(settings: Settings) -> None:
    send(settings, b"before")
    found = following(settings)
    assert next(found).partition == 0
    with Admin(settings) as admin:
        admin.create_partitions({settings.topics.frames.name: 2})
    send(settings, b"after", keys=20)
    assert {record.partition for record in islice(found, 20)} == {0, 1}


def test_a_topic_that_is_made_anew_is_followed_from_its_beginning(settings: Settings) -> None:
    send(settings, *[b"old"] * 3)
    found = following(settings)
    assert [record.value for record in islice(found, 3)] == [b"old"] * 3
    make_anew(settings, settings.topics.frames)
    new = [b"%d" % number for number in range(5)]
    send(settings, *new)
    # Those behind the old place may be read before the change is heard of; then all are, from the first on.
    values = (record.value for record in found)
    assert [next(value for value in values if value == b"0"), *islice(values, 4)] == new


def test_what_is_deleted_before_it_is_read_is_told(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever pipes events into a slow program, and loses some to the retention, heard nothing of it."""
    topic = settings.topics.frames.name
    large = bytes(3_000_000)  # so that the client fetches no more than a few at a time
    send(settings, *[large] * 20)
    found = following(settings)
    next(found)
    with Admin(settings) as admin:
        admin.delete_records({TopicPartition(topic, 0): 19})
    while next(found).offset < 19:
        pass
    assert f"{topic}[0]: Kafka deleted" in caplog.text


def test_a_topic_that_is_gone_is_told_as_that(settings: Settings) -> None:
    """It was told that no broker answers, and to look whether that is running."""
    topic = settings.topics.frames.name
    stop = threading.Event()
    limit = threading.Timer(60, stop.set)
    limit.start()
    told: list[str | None] = []

    def away(why: str | None) -> None:
        told.append(why)
        stop.set()

    send(settings, b"before")
    found = reading.follow(settings, [topic], stop, from_beginning=True, away=away)
    next(found)
    delete_topics(settings, topic)
    try:
        assert list(found) == []
    finally:
        limit.cancel()
    assert f"topic {topic!r} does not exist" in str(told)


def test_a_topic_is_known_to_be_gone_while_its_client_looks_for_it(settings: Settings) -> None:
    """Where it looked just then, which it does all the time for such a topic, a page said that no broker answers."""
    gone = f"{settings.topics.frames.name}-gone"
    with closing(open_consumer(**connection(settings, "test"), allow_auto_create_topics=False)) as consumer:
        consumer.bootstrap(timeout_ms=30_000)
        consumer.assign([TopicPartition(gone, 0)])
        for _ in range(10):  # each takes a moment in which the client looks
            consumer._cluster.request_update()
            until_s = time.monotonic() + 2
            while not consumer._cluster.metadata_refresh_in_progress and time.monotonic() < until_s:
                pass
            assert ask_for_partitions(consumer, [gone], timeout_s=30) == {gone: set()}


def test_a_topic_that_is_there_is_not_called_missing_by_the_answer_to_another_question(settings: Settings) -> None:
    """The client hands that out where it asked at that very moment, and for a topic that is gone."""
    there = settings.topics.frames.name
    with closing(open_consumer(**connection(settings, "test"), allow_auto_create_topics=False)) as consumer:
        consumer.bootstrap(timeout_ms=30_000)
        consumer.assign([TopicPartition(f"{there}-gone", 0)])
        ask_for_partitions(consumer, [there], timeout_s=30)
        cluster, us = consumer._cluster, threading.current_thread()
        looked, asked, joined = [], threading.Event(), threading.Event()

        class Asks(type(cluster)):  # type: ignore[misc]
            @property
            def metadata_refresh_in_progress(self) -> bool:
                found: bool = super().metadata_refresh_in_progress
                if threading.current_thread() is us and not (found or looked):
                    looked.append(True)
                    super().request_update()
                    asked.wait(30)
                return found

            def metadata_request(self) -> Any:
                question = super().metadata_request()
                if looked:
                    asked.set()
                return question

            def request_update(self) -> Any:
                answer = super().request_update()
                if looked:
                    joined.set()
                return answer

            def update_metadata(self, metadata: Any) -> None:
                if looked:
                    joined.wait(30)
                super().update_metadata(metadata)

        cluster.__class__ = Asks
        while not looked:
            assert ask_for_partitions(consumer, [there], timeout_s=30)[there]


def test_who_waits_for_an_answer_reads_each_record_once(settings: Settings) -> None:
    """All of them at each look: `andon try` read two million scores for one on a busy plant."""
    send(settings, b"long ago", b"0", b"1")
    topic, found = settings.topics.frames.name, []
    for records in reading.read_on(settings, [topic], {(topic, 0): 1}, timeout_s=90, every_s=0.1):
        found += [record.value for record in records]
        if found == [b"0", b"1"]:
            send(settings, b"2")
        if len(found) > 2:
            break
    assert found == [b"0", b"1", b"2"]
