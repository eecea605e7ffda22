"""The page's thread at the topics: whether what it has read is all that there is."""

import threading

import pytest
from console.plant import Plant
from support.stream import wait_until

from pipeline.kafka.records import Incoming
from workers.console.memory import Memory
from workers.console.reader import Reader

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
