"""A partition is read on after a pause, also where another one went and came back meanwhile."""

from collections.abc import Callable
from contextlib import closing

import pytest
from kafka import TopicPartition
from kafka.coordinator.assignors.range import RangePartitionAssignor
from support.stream import Collect, running, settings_for, wait_until

from pipeline.kafka.admin import ensure_topics
from pipeline.kafka.connection import connection
from pipeline.kafka.mends.joining import resume_joining
from pipeline.kafka.mends.unparking import unpark
from pipeline.kafka.opening import open_consumer
from pipeline.kafka.partitioning import partition_of
from pipeline.kafka.publisher import Publisher
from pipeline.kafka.records import Outgoing
from pipeline.kafka.step import ConsumerOptions

pytestmark = pytest.mark.services

RECORDS = 5
FIRST_BY_NAME = "0"
"""Who is given the first partition."""


def test_a_paused_partition_is_read_on_after_another_one_came_back(kafka_bootstrap: str, unique: str) -> None:
    settings = settings_for(kafka_bootstrap, unique, frame_partitions=2)
    topic = settings.topics.frames.name
    ensure_topics(settings, [settings.topics.frames])
    kept, moves = (TopicPartition(topic, number) for number in (0, 1))
    found = {kept: 0, moves: 0}
    consumer = open_consumer(
        **connection(settings, FIRST_BY_NAME),
        group_id=settings.group("test"),
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        partition_assignment_strategy=(RangePartitionAssignor,),
    )

    def send(partition: int, publisher: Publisher) -> None:
        key = next(key for key in map(str, range(100)) if partition_of(key.encode(), 2) == partition)
        publisher.publish([Outgoing(topic, key.encode(), b"x")] * RECORDS)

    def poll_until(true: Callable[[], bool]) -> None:
        def turn() -> bool:
            resume_joining(consumer)
            unpark(consumer)
            for at, records in consumer.poll(timeout_ms=50, max_records=1).items():
                found[at] += len(records)
            return true()

        wait_until(turn)

    with closing(consumer), closing(Publisher(settings, "test")) as publisher:
        consumer.subscribe([topic])
        send(0, publisher)
        poll_until(lambda: found[kept] == 1)  # the others are in the client
        consumer.pause(kept, moves)
        with running(settings, ConsumerOptions(settings.group("test"), (topic,)), Collect()):
            poll_until(lambda: consumer.assignment() == {kept})
        send(1, publisher)
        poll_until(lambda: found[moves] > 0)  # it is new here, and so not paused
        consumer.resume(*consumer.paused())
        poll_until(lambda: found[kept] == RECORDS)
