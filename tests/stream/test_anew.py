"""A topic that was deleted, made anew and filled further than it had been read, before its reader looked again."""

import time
from contextlib import closing

import pytest
from kafka import KafkaConsumer, TopicPartition
from support.stream import make_anew, settings_for

from pipeline.kafka.admin import ensure_topics
from pipeline.kafka.connection import connection
from pipeline.kafka.mends.anew import Anew
from pipeline.kafka.mends.metadata import ask_for_partitions
from pipeline.kafka.opening import open_consumer
from pipeline.kafka.publisher import Publisher
from pipeline.kafka.records import Outgoing
from pipeline.settings import Settings

pytestmark = pytest.mark.services


def fill(settings: Settings, values: list[bytes]) -> None:
    with closing(Publisher(settings, "test")) as publisher:
        publisher.publish(Outgoing(settings.topics.frames.name, b"camera", value) for value in values)


def taken(consumer: KafkaConsumer, count: int) -> list[bytes]:
    values: list[bytes] = []
    deadline_s = time.monotonic() + 90
    while len(values) < count and time.monotonic() < deadline_s:
        values += [record.value for records in consumer.poll(timeout_ms=200).values() for record in records]
    return values


def test_its_first_records_are_not_passed_over(kafka_bootstrap: str, unique: str) -> None:
    settings = settings_for(kafka_bootstrap, unique, frame_partitions=1)
    name = settings.topics.frames.name
    ensure_topics(settings, [settings.topics.frames])
    fill(settings, [b"old"] * 3)
    arguments = {**connection(settings, "test"), "metadata_max_age_ms": 600_000}  # it looks when the test says so
    with closing(open_consumer(**arguments, auto_offset_reset="earliest", enable_auto_commit=False)) as consumer:
        at, anew = TopicPartition(name, 0), Anew(consumer)
        ask_for_partitions(consumer, [name], 8)
        consumer.assign([at])
        consumer.seek_to_beginning(at)
        anew.begin()
        assert taken(consumer, 3) == [b"old"] * 3
        consumer.pause(at)  # as while a delivery waits
        make_anew(settings, settings.topics.frames)
        fill(settings, [b"0", b"1", b"2", b"3", b"4"])
        ask_for_partitions(consumer, [name], 8)
        anew.begin()
        consumer.resume(at)
        assert taken(consumer, 5) == [b"0", b"1", b"2", b"3", b"4"]
