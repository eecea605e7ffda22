"""Brokers that are elsewhere than they said."""

import time
from typing import Any

import pytest
from support.stream import settings_for

from pipeline.kafka.admin import ensure_topics
from pipeline.kafka.connection import connection
from pipeline.kafka.mends import moved
from pipeline.kafka.opening import open_consumer, open_producer
from workers.local.ports import LOOPBACK, free_ports

pytestmark = pytest.mark.services


def move(manager: Any) -> None:
    """As if all brokers had got other addresses: those that the client knows lead nowhere, and its connections end."""
    (port,) = free_ports(1)
    cluster = manager.cluster
    cluster._brokers = {
        node_id: broker.__class__(node_id, LOOPBACK, port, None) for node_id, broker in cluster._brokers.items()
    }
    cluster._coordinators = {}
    for open_connection in list(manager._conns.values()):
        open_connection.close(ConnectionResetError())


def test_clients_find_brokers_that_have_moved(
    kafka_bootstrap: str, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Replicas and alerting asked at the old address for ever; only starting them again helped."""
    monkeypatch.setattr(moved, "LOST_AFTER_S", 0.5)
    settings = settings_for(kafka_bootstrap, unique, frame_partitions=1)
    ensure_topics(settings, settings.topics)
    frames = settings.topics.frames.name
    producer = open_producer(**connection(settings, "test"))
    consumer = open_consumer(**connection(settings, "test"), auto_offset_reset="earliest")
    try:
        consumer.subscribe([frames])
        seen: list[bytes] = []

        def read_until(count: int) -> None:
            deadline = time.monotonic() + 90
            while len(seen) < count and time.monotonic() < deadline:
                seen.extend(record.value for records in consumer.poll(200).values() for record in records)

        producer.send(frames, b"before").get(timeout=90)
        read_until(1)
        move(consumer._client._manager)
        move(producer._sender._client._manager)
        producer.send(frames, b"after").get(timeout=90)
        read_until(2)
        assert seen == [b"before", b"after"]
    finally:
        producer.close(timeout=1)
        consumer.close(timeout_ms=1_000)
