"""Records that Kafka deleted before they were read."""

import pytest
from kafka import KafkaAdminClient, TopicPartition
from support.stream import Collect, running, settings_for, wait_until

from pipeline.kafka.admin import ensure_topics
from pipeline.kafka.publisher import Publisher
from pipeline.kafka.records import Outgoing
from pipeline.kafka.step import ConsumerOptions

pytestmark = pytest.mark.services


def test_records_that_expired_before_they_were_read_are_told_with_their_number(
    kafka_bootstrap: str, unique: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Frames that no replica ever scored, and scores that stopped no line, were gone without a word."""
    settings = settings_for(kafka_bootstrap, unique, frame_partitions=1)
    ensure_topics(settings, settings.topics)
    frames = settings.topics.frames.name
    options = ConsumerOptions(settings.group("test"), (frames,))
    publisher = Publisher(settings, "test")
    step = Collect()

    def send(first: int, last: int) -> None:
        publisher.publish(Outgoing(frames, b"key", str(i).encode()) for i in range(first, last))

    send(0, 3)
    with running(settings, options, step) as loop:
        wait_until(lambda: loop.state.records == 3)
    assert "deleted" not in caplog.text
    send(3, 10)
    admin = KafkaAdminClient(bootstrap_servers=kafka_bootstrap)
    admin.delete_records({TopicPartition(frames, 0): 8})
    admin.close()
    with running(settings, options, step) as loop:
        wait_until(lambda: loop.state.records == 2)
        send(10, 12)
        wait_until(lambda: loop.state.records == 4)
        assert loop.state.deleted_unread == 5
    publisher.close()
    assert step.seen == [b"0", b"1", b"2", b"8", b"9", b"10", b"11"]
    assert f"{frames}[0]: Kafka deleted 5 records, from offset 3 on, before they were read here" in caplog.text
    assert caplog.text.count("before they were read here") == 1


def test_they_are_told_of_though_nothing_comes_after_them(kafka_bootstrap: str, unique: str) -> None:
    """480 frames waited for Redis and were deleted: as long as the line stood still, nobody heard of it."""
    settings = settings_for(kafka_bootstrap, unique, frame_partitions=1)
    ensure_topics(settings, settings.topics)
    frames = settings.topics.frames.name
    publisher = Publisher(settings, "test")
    step = Collect()
    with running(settings, ConsumerOptions(settings.group("test"), (frames,), max_batch=8), step) as loop:
        step.away.set()
        publisher.publish(Outgoing(frames, b"key", bytes(50_000)) for _ in range(480))
        wait_until(lambda: loop.state.waiting_for is not None)
        admin = KafkaAdminClient(bootstrap_servers=kafka_bootstrap)
        admin.delete_records({TopicPartition(frames, 0): 480})
        admin.close()
        step.away.clear()
        wait_until(lambda: loop.state.records + loop.state.deleted_unread == 480)
        assert loop.state.deleted_unread > 0
    publisher.close()
