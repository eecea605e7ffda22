"""A broker that lost the end of its log, as in a power cut: readers go on where it ends now."""

import time
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import product

import pytest
from kafka import KafkaAdminClient
from support.stream import Collect, lose_the_end, running, settings_for, wait_until

from pipeline.kafka.admin import ensure_topics
from pipeline.kafka.lease import Lease
from pipeline.kafka.publisher import Publisher
from pipeline.kafka.records import Outgoing
from pipeline.kafka.step import ConsumerOptions
from pipeline.settings import Settings
from workers.local.kafka_broker import KafkaBroker

pytestmark = pytest.mark.services


@dataclass(frozen=True)
class Reader:
    """Of a topic of its own."""

    settings: Settings
    leased: bool
    new: int
    """So many records come once the broker is back. It lost a quarter of forty."""

    @property
    def frames(self) -> str:
        return self.settings.topics.frames.name

    def options(self) -> ConsumerOptions:
        lease = Lease(session_timeout_s=2) if self.leased else None
        return ConsumerOptions(self.settings.group("test"), (self.frames,), lease=lease, overlap=not self.leased)


def test_a_reader_that_was_away_reads_each_new_record_and_none_again(own_kafka: KafkaBroker, unique: str) -> None:
    """The committed offset lay behind the end: all that Kafka held was read again, or new records were passed over.

    By replicas and by workers with a lease; fewer new records than lost ones, and more. All at one crash of the broker.
    """
    readers = {}
    for leased, new in product((False, True), (3, 60)):
        settings = settings_for(own_kafka.bootstrap, f"{unique}-{leased}-{new}", frame_partitions=1)
        readers[leased, new] = Reader(settings, leased, new)
    for reader in readers.values():
        ensure_topics(reader.settings, reader.settings.topics)
        _send(reader.settings, 40, "old")
    with ExitStack() as stack:
        loops = [stack.enter_context(running(one.settings, one.options(), Collect())) for one in readers.values()]
        wait_until(lambda: all(loop.state.records == 40 for loop in loops))
        time.sleep(2)  # the leases are renewed by another commit
    lose_the_end(own_kafka, *(reader.frames for reader in readers.values()))
    sent = {case: _send(reader.settings, reader.new, "new") for case, reader in readers.items()}
    after = {case: Collect() for case in readers}
    with ExitStack() as stack:
        for case, reader in readers.items():
            stack.enter_context(running(reader.settings, reader.options(), after[case]))
        wait_until(lambda: all(sent[case][-1] in step.seen for case, step in after.items()))
    assert {case: step.seen for case, step in after.items()} == sent


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
