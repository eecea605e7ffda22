"""Fills the frames topic, as cameras would."""

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from functools import partial

from pipeline.events import Frame, now
from pipeline.kafka.publisher import Publisher
from pipeline.kafka.records import Outgoing
from pipeline.settings import Settings

CAMERAS = 16
"""Enough that every partition gets some."""
_IN_FLIGHT = 200
_ACK_TIMEOUT_S = 60.0


def feed(settings: Settings, pictures: Sequence[bytes], frames: int, recipe: str, boot_id: str = "b1") -> None:
    """Sends so many frames, the pictures in turn, and returns when the broker has acknowledged all."""
    publisher = Publisher(settings, "bench-feed")
    in_flight: deque[Future[None]] = deque()
    try:
        for number in range(frames):
            record = _record(settings.topics.frames.name, number, pictures[number % len(pictures)], recipe, boot_id)
            done: Future[None] = Future()
            publisher.send(record, partial(_settle, done))
            in_flight.append(done)
            if len(in_flight) > _IN_FLIGHT:
                in_flight.popleft().result(_ACK_TIMEOUT_S)
        for done in in_flight:
            done.result(_ACK_TIMEOUT_S)
    finally:
        publisher.close()


def _record(topic: str, number: int, picture: bytes, recipe: str, boot_id: str) -> Outgoing:
    sequence, camera = divmod(number, CAMERAS)
    facts = Frame(
        camera_id=f"cam-{camera}",
        line_id=f"line-{camera % 4}",
        station_id="s1",
        recipe=recipe,
        boot_id=boot_id,
        sequence=sequence,
        part_id=f"part-{number}",
        captured_at=now(),
        content_type="image/png",
    )
    return Outgoing(topic, facts.camera_id.encode(), picture, facts.to_headers())


def _settle(done: Future[None], error: BaseException | None) -> None:
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)
