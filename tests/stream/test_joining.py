"""A join that outlasts the poll it began in."""

from collections.abc import Iterator
from contextlib import closing

import pytest
from kafka import KafkaAdminClient, KafkaConsumer
from support.stream import settings_for, wait_until

from pipeline.kafka.admin import ensure_topics
from pipeline.kafka.connection import connection
from pipeline.kafka.mends.joining import resume_joining
from pipeline.settings import Settings

pytestmark = pytest.mark.services


@pytest.fixture
def settings(kafka_bootstrap: str, unique: str) -> Settings:
    settings = settings_for(kafka_bootstrap, unique)
    ensure_topics(settings, [settings.topics.frames])
    return settings


@pytest.fixture
def consumer(settings: Settings) -> Iterator[KafkaConsumer]:
    consumer = KafkaConsumer(
        settings.topics.frames.name,
        **connection(settings, "test"),
        group_id=settings.group("test"),
        metadata_max_age_ms=200,
    )
    yield consumer
    consumer.close(autocommit=False)


def test_is_completed_by_the_next(settings: Settings, consumer: KafkaConsumer) -> None:
    """Without `resume_joining`, this member stands still when the topic grows."""
    partitions = settings.andon_frame_partitions

    def grown_to(count: int) -> bool:
        resume_joining(consumer)
        consumer.poll(timeout_ms=20)
        return len(consumer.assignment()) == count

    wait_until(lambda: grown_to(partitions))
    with closing(KafkaAdminClient(**connection(settings, "test"))) as admin:
        admin.create_partitions({settings.topics.frames.name: partitions + 1})
    wait_until(lambda: grown_to(partitions + 1))


def test_is_not_begun_anew_where_it_was_done_between_two_polls(settings: Settings, consumer: KafkaConsumer) -> None:
    """Without `resume_joining`, each of these is another rebalance for the whole group."""
    coordinator = consumer._coordinator
    # Who joins before it has heard of the partitions is given none, and joins anew with good reason.
    wait_until(lambda: bool(consumer.partitions_for_topic(settings.topics.frames.name)))

    def was_done_between_two_polls() -> bool:
        consumer.poll(timeout_ms=1)
        join = coordinator._join_task
        wait_until(lambda: join is None or bool(join.is_done))
        return join is not None and join.exception is None  # the first only brings a name

    wait_until(was_done_between_two_polls)
    assert not consumer.assignment()
    generation = coordinator._generation.generation_id

    def has_joined() -> bool:
        resume_joining(consumer)
        consumer.poll(timeout_ms=20)
        return bool(consumer.assignment())

    wait_until(has_joined)
    assert coordinator._generation.generation_id == generation
