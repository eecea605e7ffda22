"""A partition is read on after a pause, also where another one moved to a second member meanwhile."""

from contextlib import closing
from typing import Any

import pytest
from kafka import KafkaConsumer, TopicPartition
from kafka.coordinator.assignors.range import RangePartitionAssignor
from support.stream import settings_for, wait_until

from pipeline.kafka.admin import ensure_topics
from pipeline.kafka.connection import connection
from pipeline.kafka.consumer import resume_joining
from pipeline.kafka.metadata import ask_for_partitions
from pipeline.kafka.opening import open_consumer
from pipeline.kafka.partitioning import partition_of
from pipeline.kafka.publisher import Publisher
from pipeline.kafka.records import Outgoing
from pipeline.kafka.unparking import unpark
from pipeline.settings import Settings

pytestmark = pytest.mark.services

RECORDS = 5


@pytest.fixture
def settings(kafka_bootstrap: str, unique: str) -> Settings:
    settings = settings_for(kafka_bootstrap, unique)
    ensure_topics(settings, [settings.topics.frames])
    with closing(Publisher(settings, "test")) as publisher:
        for number in (0, 1):
            key = next(key for key in map(str, range(100)) if partition_of(key.encode(), 2) == number).encode()
            publisher.publish([Outgoing(settings.topics.frames.name, key, b"x")] * RECORDS)
    return settings


def member(settings: Settings, name: str) -> KafkaConsumer:
    """The first in the order of names is given the first partition."""
    consumer = open_consumer(
        **connection(settings, name),
        group_id=settings.group("test"),
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        max_poll_records=1,
        partition_assignment_strategy=(RangePartitionAssignor,),
    )
    consumer.subscribe([settings.topics.frames.name])
    ask_for_partitions(consumer, [settings.topics.frames.name], timeout_s=10)  # as the loop does, before it joins
    return consumer


def test_a_paused_partition_is_read_on_after_another_one_moved_away(settings: Settings) -> None:
    both = {TopicPartition(settings.topics.frames.name, number) for number in (0, 1)}
    found: dict[TopicPartition, int] = dict.fromkeys(both, 0)

    def poll(consumer: KafkaConsumer) -> None:
        resume_joining(consumer)
        unpark(consumer)
        for at, records in consumer.poll(timeout_ms=50, max_records=1).items():
            found[at] += len(records)

    def polled_until(true: Any, *consumers: KafkaConsumer) -> None:
        def turn() -> bool:
            for consumer in consumers:
                poll(consumer)
            return bool(true())

        wait_until(turn, timeout_s=40)

    with closing(member(settings, "m")) as one:
        # Of one partition a record was given out, and more of them wait in the client.
        polled_until(lambda: any(found.values()), one)
        begun = next(at for at, count in found.items() if count)
        (other,) = both - {begun}
        one.pause(*both)
        with closing(member(settings, "z" if begun.partition == 0 else "a")) as second:
            polled_until(lambda: one.assignment() == {begun}, one, second)
        found[other] = 0
        polled_until(lambda: found[other], one)  # it is new here, and not paused
        one.resume(*one.paused())
        polled_until(lambda: found[begun] == RECORDS, one)
