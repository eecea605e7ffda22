"""A broker that lost the end of its log, as in a power cut: readers go on where it ends now."""

import time

import pytest
from kafka import KafkaAdminClient
from support.stream import Collect, lose_the_end, running, settings_for, wait_until

from pipeline.kafka.admin import ensure_topics
from pipeline.kafka.consumer import ConsumerOptions
from pipeline.kafka.lease import Lease
from pipeline.kafka.publisher import Publisher
from pipeline.kafka.records import Outgoing
from pipeline.settings import Settings
from workers.local.kafka_broker import KafkaBroker

pytestmark = pytest.mark.services


@pytest.mark.parametrize("new", [3, 60], ids=["fewer new records than lost ones", "more new records than lost ones"])
@pytest.mark.parametrize("leased", [False, True], ids=["a replica", "a worker with a lease"])
def test_a_reader_that_was_away_reads_each_new_record_and_none_again(
    own_kafka: KafkaBroker, unique: str, new: int, leased: bool
) -> None:
    """The committed offset lay behind the end: all that Kafka held was read again, or new records were passed over."""
    settings = settings_for(own_kafka.bootstrap, unique, frame_partitions=1)
    ensure_topics(settings, settings.topics)
    lease = Lease(session_timeout_s=2) if leased else None
    options = ConsumerOptions(settings.group("test"), (settings.topics.frames.name,), lease=lease, overlap=not leased)
    _send(settings, 40, "old")
    before = Collect()
    with running(settings, options, before) as loop:
        wait_until(lambda: loop.state.records == 40)
        time.sleep(2 if leased else 0)  # the lease is renewed by another commit
    lose_the_end(own_kafka, settings.topics.frames.name)
    values = _send(settings, new, "new")
    after = Collect()
    with running(settings, options, after) as loop:
        wait_until(lambda: values[-1] in after.seen)
    assert after.seen == values


def test_a_batch_that_waited_meanwhile_is_no_reason_to_begin_anew(own_kafka: KafkaBroker, unique: str) -> None:
    """A rebalance gave its records back. From where they began the reader had no epoch, and read all again."""
    settings = settings_for(own_kafka.bootstrap, unique, frame_partitions=1)
    ensure_topics(settings, settings.topics)
    frames = settings.topics.frames.name
    options = ConsumerOptions(settings.group("test"), (frames,), overlap=True)
    old = _send(settings, 40, "old")
    step = Collect()
    with running(settings, options, step) as loop:
        wait_until(lambda: loop.state.records == 40)
        step.away.set()
        before = step.attempts
        _send(settings, 1, "waits")
        wait_until(lambda: step.attempts > before)
        lose_the_end(own_kafka, frames)
        client = KafkaAdminClient(bootstrap_servers=[own_kafka.bootstrap])
        client.create_partitions({frames: 2})  # a rebalance within 10 s
        client.close()
        wait_until(lambda: len(step.assignments) > 1 or loop.state.waiting_for is None)
        step.away.clear()
        values = _send(settings, 3, "new")
        wait_until(lambda: set(values) <= set(step.seen))
    assert [step.seen.count(value) for value in old + values] == [1] * 43


def _send(settings: Settings, records: int, what: str) -> list[bytes]:
    """Each in a batch of its own."""
    values = [f"{what} {number}".encode() for number in range(records)]
    publisher = Publisher(settings, "test")
    for value in values:
        publisher.publish([Outgoing(settings.topics.frames.name, b"k", value)])
    publisher.close()
    return values
