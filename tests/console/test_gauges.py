"""How far the groups have read, as the page tells it."""

import pytest
from kafka import KafkaAdminClient, TopicPartition
from support.stream import settings_for, wait_until

from pipeline.kafka.admin import ensure_topics
from pipeline.kafka.publisher import Publisher
from pipeline.kafka.records import Outgoing
from workers.console.gauges import GaugeReader

pytestmark = pytest.mark.services


def test_what_has_expired_waits_for_nobody_although_nobody_ever_read(kafka_bootstrap: str, unique: str) -> None:
    """The page said that nobody judges, of frames that were gone for a week."""
    settings = settings_for(kafka_bootstrap, unique, frame_partitions=1)
    ensure_topics(settings, settings.topics)
    frames = settings.topics.frames.name
    publisher = Publisher(settings, "test")
    publisher.publish(Outgoing(frames, b"key", str(number).encode()) for number in range(5))
    publisher.close()
    reader = GaugeReader(settings)
    reader.start()
    wait_until(lambda: reader.now.inspection.waiting == 5)
    admin = KafkaAdminClient(bootstrap_servers=kafka_bootstrap)
    admin.delete_records({TopicPartition(frames, 0): 3})
    admin.close()
    wait_until(lambda: reader.now.inspection.waiting == 2)
    reader.close()
