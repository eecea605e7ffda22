"""The page's thread at the topics: whether what it has read is all that there is."""

import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from console.plant import Plant
from console.test_guard import desk_at, log_in
from starlette.testclient import TestClient
from support.stream import settings_for, wait_until

from pipeline.kafka import reading
from pipeline.kafka.admin import ensure_topics
from pipeline.kafka.publisher import Publisher
from pipeline.kafka.records import Incoming, Outgoing
from workers.console.app import create_app
from workers.console.memory import Memory
from workers.console.reader import DEAD_BEFORE, Reader
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
        wait_until(lambda: reader.fault is None)
        assert "still reading what the factory told" in (reader.behind or "")
        memory.may.set()
        wait_until(lambda: reader.behind is None)
        assert "reader-1-a" in [camera.camera_id for camera in memory.cameras()]
    finally:
        memory.may.set()
        reader.close()


def test_the_page_says_of_how_many_of_those_that_died_before_it_started_it_tells(
    kafka_bootstrap: str, unique: str, tmp_path: Path
) -> None:
    """It called them the newest 1,000, and after each restart they were a hundred of each partition."""
    settings = settings_for(kafka_bootstrap, unique, frame_partitions=1)
    ensure_topics(settings, settings.topics)
    died = Outgoing(settings.topics.frames_dead.name, b"cam-1", b"", [("dead.reason", b"empty")])
    with closing(Publisher(settings, "test")) as publisher:
        publisher.publish([died] * (DEAD_BEFORE + 3))
        memory = Memory(settings.topics)
        with closing(Reader(settings, memory)) as reader:
            reader.start()
            wait_until(lambda: reader.fault is None and reader.behind is None)
            publisher.publish([died] * 2)
            wait_until(lambda: len(memory.dead()) >= DEAD_BEFORE + 2)
            with TestClient(create_app(replace(desk_at(tmp_path), memory=memory, reader=reader))) as client:
                log_in(client, "viewer")
                told = f"from before this page started {DEAD_BEFORE} a partition): {DEAD_BEFORE + 2} empty."
                assert told in client.get("/health").text


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
        wait_until(lambda: reader.fault is None)
        own_kafka.pause()
        wait_until(lambda: "no Kafka broker answers" in (reader.fault or ""))
        own_kafka.resume()
        wait_until(lambda: reader.fault is None)
    finally:
        reader.close()
