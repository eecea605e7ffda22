"""Who is held off by a quota, or by a partition that nobody leads, waits, and does not look a thousand times a second
whether it is over."""

import threading
import time
from collections.abc import Collection
from contextlib import closing

import pytest
from kafka import KafkaAdminClient
from kafka.producer.sender import Sender
from kafka.protocol.admin.client_quotas import AlterClientQuotasRequest
from support.stream import Collect, make_anew, running, settings_for, wait_until

from pipeline.kafka.admin import ensure_topics
from pipeline.kafka.partitioning import partition_of
from pipeline.kafka.publisher import Publisher
from pipeline.kafka.records import Outgoing
from pipeline.kafka.step import ConsumerOptions

pytestmark = pytest.mark.services


def give_quota(kafka_bootstrap: str, client_id: str, key: str, bytes_a_second: float) -> None:
    entry = AlterClientQuotasRequest.EntryData
    quota = entry(
        entity=[entry.EntityData(entity_type="client-id", entity_name=client_id)],
        ops=[entry.OpData(key=key, value=bytes_a_second, remove=False)],
    )
    admin = KafkaAdminClient(bootstrap_servers=kafka_bootstrap)
    admin._manager.run(admin._manager.send, AlterClientQuotasRequest(entries=[quota], validate_only=False))
    admin.close()


def spent_s(threads: Collection[threading.Thread]) -> float:
    """Of the processor, by these alone: what else runs in this process is nobody's fault here."""
    clocks = (time.pthread_getcpuclockid(thread.ident) for thread in threads if thread.ident and thread.is_alive())
    return sum(map(time.clock_gettime, clocks))


def test_a_producer_that_is_held_off_rests(kafka_bootstrap: str, unique: str) -> None:
    settings = settings_for(kafka_bootstrap, unique)
    ensure_topics(settings, [settings.topics.frames])
    give_quota(kafka_bootstrap, unique, "producer_byte_rate", 10_000)
    others = set(threading.enumerate())
    publisher = Publisher(settings, unique)
    record = Outgoing(settings.topics.frames.name, b"k", b"x" * 150_000, [])
    publisher.publish([record])  # at once; then some 5 s of nothing
    ours = set(threading.enumerate()) - others
    assert ours
    spent: list[float] = []

    def held_off() -> bool:
        """It is not where a busy machine took those seconds to come here."""
        receipt, before_s = publisher.hand_over(record, pytest.fail), spent_s(ours)
        time.sleep(2)
        if held := not receipt.is_done:
            spent.append(spent_s(ours) - before_s)
        wait_until(lambda: receipt.is_done)
        return held

    wait_until(held_off)
    publisher.close()
    assert spent[0] < 0.4


def test_a_producer_rests_while_nobody_leads_a_partition(
    kafka_bootstrap: str, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And sends what waited once somebody does. It asked thousands of times a second who leads it."""
    many, one = (settings_for(kafka_bootstrap, unique, frame_partitions=count) for count in (4, 1))
    topic, looks, look = many.topics.frames, [0], Sender.run_once

    def counted(sender: Sender) -> None:
        looks[0] += 1
        look(sender)

    monkeypatch.setattr(Sender, "run_once", counted)
    keys = {partition_of(key, 4): key for key in (b"k%d" % number for number in range(50))}.values()
    ensure_topics(many, [topic])
    with closing(Publisher(many, unique, delivery_timeout_s=600)) as publisher:
        publisher.publish([Outgoing(topic.name, key, b"x") for key in keys])
        make_anew(one, one.topics.frames)
        # To where they were: the client learns of it by this.
        receipts = [publisher.hand_over(Outgoing(topic.name, key, b"y", []), pytest.fail) for key in keys]
        wait_until(lambda: sum(receipt.is_done for receipt in receipts) == 1)
        looks[0], began_s = 0, time.monotonic()
        time.sleep(2)
        wait_until(lambda: looks[0] > 0)
        assert looks[0] < 250 * (time.monotonic() - began_s)
        make_anew(many, topic)
        wait_until(lambda: all(receipt.is_done for receipt in receipts))


def test_a_consumer_whose_quota_holds_no_batch_says_so(kafka_bootstrap: str, unique: str) -> None:
    """It read nothing, its lag was 0, it waited for nothing: whoever looked found a plant without frames."""
    settings = settings_for(kafka_bootstrap, unique, frame_partitions=1)
    topic = settings.topics.frames.name
    ensure_topics(settings, [settings.topics.frames])
    publisher = Publisher(settings, "test")
    publisher.publish([Outgoing(topic, b"k", b"x" * 300_000)])
    publisher.close()
    give_quota(kafka_bootstrap, unique, "consumer_byte_rate", 10_000)
    step = Collect()
    with running(settings, ConsumerOptions(unique, (topic,)), step) as loop:
        wait_until(lambda: (loop.state.waiting_for or "").startswith(f"Kafka holds client id {unique} off by a quota"))
        assert not step.seen
        give_quota(kafka_bootstrap, unique, "consumer_byte_rate", 1e9)
        wait_until(lambda: len(step.seen) == 1)
        wait_until(lambda: loop.state.waiting_for is None)
