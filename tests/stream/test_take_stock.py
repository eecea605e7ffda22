"""The audit of a span of time: frames from before it are not missed."""

import time
from datetime import UTC, datetime, timedelta

import pytest
from kafka import KafkaAdminClient, TopicPartition
from support.stream import BOOT, frame, outgoing, settings_for

from pipeline.events import Heartbeat, now
from pipeline.kafka.admin import ensure_topics
from pipeline.kafka.publisher import Publisher
from pipeline.kafka.reading import ends_of
from pipeline.kafka.records import Outgoing
from pipeline.settings import Settings
from pipeline.take_stock import take_stock

pytestmark = pytest.mark.services


def captured(settings: Settings, since: datetime | None) -> int:
    (account,) = take_stock(settings, since=since)
    assert account.balanced
    return account.captured


def test_an_audit_since_a_moment_leaves_out_what_came_before(kafka_bootstrap: str, unique: str) -> None:
    settings = settings_for(kafka_bootstrap, unique)
    ensure_topics(settings, settings.topics)
    publisher = Publisher(settings, "test")
    publisher.publish(outgoing(settings.topics.frames.name, frame(i)) for i in range(10))
    time.sleep(0.01)  # the broker's clock has milliseconds
    moment = datetime.now(UTC)
    publisher.publish(outgoing(settings.topics.frames.name, frame(i)) for i in range(10, 16))
    beat = Heartbeat(
        camera_id="cam-1",
        line_id="line-1",
        boot_id=BOOT,
        sent_at=now(),
        source_connected=True,
        captured=16,
        published=16,
        dropped={},
        buffered=0,
        spooled=0,
    )
    publisher.publish([Outgoing(settings.topics.heartbeats.name, f"cam-1:{BOOT}".encode(), beat.to_json())])
    publisher.close()

    assert captured(settings, None) == 16
    assert captured(settings, moment) == 6
    assert captured(settings, moment + timedelta(hours=1)) == 0

    # After a week-end without frames Kafka has forgotten all of them, and still knows the heartbeats of Friday.
    admin = KafkaAdminClient(bootstrap_servers=kafka_bootstrap)
    ends = ends_of(settings, [settings.topics.frames.name])
    admin.delete_records({TopicPartition(*place): end for place, end in ends.items()})
    admin.close()
    assert captured(settings, None) == 0
