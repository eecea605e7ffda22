"""How far the groups have read, as the page tells it."""

from typing import Any

import pytest
from kafka import KafkaAdminClient, TopicPartition
from support.stream import settings_for, wait_until

from pipeline.kafka import admin, connection, reading
from pipeline.kafka.admin import ensure_topics
from pipeline.kafka.publisher import Publisher
from pipeline.kafka.records import Outgoing
from pipeline.settings import Settings
from workers.console import gauges
from workers.console.gauges import GaugeReader, Gauges
from workers.local.kafka_broker import KafkaBroker

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
    client = KafkaAdminClient(bootstrap_servers=kafka_bootstrap)
    client.delete_records({TopicPartition(frames, 0): 3})
    client.close()
    wait_until(lambda: reader.now.inspection.waiting == 2)
    reader.close()


def test_all_looks_go_over_one_client_which_is_opened_anew_after_an_error(
    own_kafka: KafkaBroker, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each look opened three, with a login and a TLS handshake each."""
    opened_after: list[int] = []
    looks: list[Gauges] = []
    look = GaugeReader._look

    def counted(reader: GaugeReader, client: KafkaAdminClient) -> Gauges:
        looks.append(look(reader, client))
        return looks[-1]

    def connected(settings: Settings, client_id: str) -> dict[str, Any]:
        opened_after.append(len(looks))
        return connection.connection(settings, client_id)

    for room in (admin, reading):
        monkeypatch.setattr(room, "connection", connected)
    monkeypatch.setattr(connection, "REQUEST_TIMEOUT_MS", 2_000)
    monkeypatch.setattr(gauges, "EVERY_S", 0.2)
    monkeypatch.setattr(GaugeReader, "_look", counted)
    settings = settings_for(own_kafka.bootstrap, unique, frame_partitions=1)
    ensure_topics(settings, settings.topics)
    opened_after.clear()
    reader = GaugeReader(settings)
    reader.start()

    def five_over_one_client() -> bool:
        """However many a busy broker cost, which may take longer to answer than they wait."""
        return bool(opened_after) and len(looks) >= opened_after[-1] + 5

    try:
        wait_until(five_over_one_client)
        own_kafka.pause()
        wait_until(lambda: "no Kafka broker answers" in (reader.now.fault or ""))
        before = len(opened_after)
        own_kafka.resume()
        wait_until(lambda: len(opened_after) > before and five_over_one_client())
    finally:
        own_kafka.resume()
        reader.close()


def test_a_topic_that_is_not_there_is_named_with_what_to_do(kafka_bootstrap: str, unique: str) -> None:
    reader = GaugeReader(settings_for(kafka_bootstrap, unique))
    reader.start()
    try:
        wait_until(lambda: "does not exist; create it with `andon topics create`" in (reader.now.fault or ""))
    finally:
        reader.close()
