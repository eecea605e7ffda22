"""Fills the frames topic, as cameras would."""

from collections.abc import Sequence

from pipeline.events import Frame, now
from pipeline.kafka.publisher import Publisher
from pipeline.kafka.records import Outgoing
from pipeline.settings import Settings

CAMERAS = 16
"""Enough that every partition gets some."""
_AT_ONCE = 200
_ACK_TIMEOUT_S = 60.0


def feed(settings: Settings, pictures: Sequence[bytes], frames: int, recipe: str, boot_id: str = "b1") -> None:
    """Sends so many frames, the pictures in turn, and returns when the broker has acknowledged all."""
    topic, publisher = settings.topics.frames.name, Publisher(settings, "bench-feed")
    try:
        for first in range(0, frames, _AT_ONCE):
            publisher.publish(
                (
                    _record(topic, number, pictures[number % len(pictures)], recipe, boot_id)
                    for number in range(first, min(first + _AT_ONCE, frames))
                ),
                _ACK_TIMEOUT_S,
            )
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
