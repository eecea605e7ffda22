"""The page's thread at the topics: whether what it has read is all that there is."""

import threading

import pytest
from console.plant import Plant
from support.stream import settings_for, wait_until

from pipeline.kafka import reading
from pipeline.kafka.admin import ensure_topics
from pipeline.kafka.records import Incoming
from workers.console.memory import Memory
from workers.console.reader import Reader
from workers.local.kafka_broker import KafkaBroker

pytestmark = pytest.mark.services


class Slow(Memory):
    """Takes nothing until it may."""

    def __init__(self, plant: Plant) -> None:
        super().__init__(plant.settings.topics)
        self.may = threading.Event()

    def read(self, record: Incoming) -> None:
        assert self.may.wait(60)
        super().read(record)


def test_a_page_tells_how_much_of_the_past_it_has_yet_to_read_and_when_it_has(plant: Plant) -> None:
    """It showed a line as running and without an alarm until it had come to its stop."""
    plant.shoot("reader-1", "reader-1-a", "...")
    memory = Slow(plant)
    reader = Reader(plant.settings, memory)
    reader.start()
    try:
        wait_until(lambda: reader.fault is None, 60)
        assert "still reading what the factory told" in (reader.behind or "")
        memory.may.set()
        wait_until(lambda: reader.behind is None, 60)
        assert "reader-1-a" in [camera.camera_id for camera in memory.cameras()]
    finally:
        memory.may.set()
        reader.close()


def test_a_page_that_has_read_all_notices_that_kafka_is_gone(
    own_kafka: KafkaBroker, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A poll comes back empty from a broker that is gone as from one that has nothing: the page said it was live."""
    monkeypatch.setattr(reading, "_QUIET_S", 0.5)
    monkeypatch.setattr(reading, "_AWAY_AFTER_S", 2.0)
    settings = settings_for(own_kafka.bootstrap, unique, frame_partitions=1)
    ensure_topics(settings, settings.topics)
    reader = Reader(settings, Memory(settings.topics))
    reader.start()
    try:
        wait_until(lambda: reader.fault is None, 60)
        own_kafka.pause()
        wait_until(lambda: "no Kafka broker answers" in (reader.fault or ""), 60)
        own_kafka.resume()
        wait_until(lambda: reader.fault is None, 60)
    finally:
        reader.close()
