"""Records that Kafka deleted before they were read."""

import pytest
from kafka import KafkaAdminClient, TopicPartition
from support.stream import Collect, running, settings_for, wait_until

from pipeline.kafka.admin import ensure_topics
from pipeline.kafka.consumer import ConsumerOptions
from pipeline.kafka.publisher import Publisher
from pipeline.kafka.records import Outgoing

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
