"""The thread at the topic of heartbeats: nothing that lies there keeps it from the newest."""

from contextlib import closing

import pytest
from alerting.factory import heartbeat
from kafka import TopicPartition
from support.stream import send_unreadable, settings_for, wait_until

from pipeline.events import Heartbeat
from pipeline.kafka.admin import Admin, ensure_topics
from pipeline.kafka.publisher import Publisher
from pipeline.kafka.records import Outgoing
from pipeline.settings import Settings
from workers.alerting.pulses import PulseReader

pytestmark = pytest.mark.services


@pytest.fixture
def line(kafka_bootstrap: str, unique: str) -> Settings:
    settings = settings_for(kafka_bootstrap, unique, line_partitions=1)
    ensure_topics(settings, settings.topics)
    return settings


def send(settings: Settings, *beats: Heartbeat) -> None:
    with closing(Publisher(settings, "test")) as publisher:
        publisher.publish(Outgoing(settings.topics.heartbeats.name, b"k", each.to_json()) for each in beats)


def test_a_record_that_cannot_be_read_keeps_nobody_at_the_heartbeats_before_it(line: Settings) -> None:
    """Silence was judged by them from then on, or after a restart by none."""
    send(line, heartbeat(boot="earlier"))
    send_unreadable(line, line.topics.heartbeats.name)
    send(line, heartbeat(boot="later"))
    with closing(PulseReader(line)) as reader:
        assert reader.wait_for_the_past(30)
        assert reader.newest["cam-1"].beat.boot_id == "later"
        assert reader.newest["cam-1"].read_at is None  # it may be of a camera that is no more
        send(line, heartbeat(boot="now"))
        wait_until(lambda: reader.newest["cam-1"].read_at is not None)


def test_a_past_that_has_expired_is_read(line: Settings) -> None:
    """As after a weekend: no record comes that could tell that the end is reached."""
    send(line, heartbeat(boot="earlier"))
    with Admin(line) as admin:
        admin.delete_records({TopicPartition(line.topics.heartbeats.name, 0): 1})
    with closing(PulseReader(line)) as reader:
        assert reader.wait_for_the_past(30)
