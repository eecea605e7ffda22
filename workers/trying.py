"""Sends one frame through a running factory and waits for its score: does everything between hold together?"""

import io
import time
from dataclasses import dataclass

import numpy as np
from PIL import Image

from pipeline.errors import AndonError
from pipeline.events import CHECK, BootEnd, ContractError, Frame, Heartbeat, Score, now
from pipeline.kafka.admin import check_topics
from pipeline.kafka.publisher import Publisher, PublishError
from pipeline.kafka.reading import ends_of, read_on
from pipeline.kafka.records import Outgoing
from pipeline.settings import Settings
from workers.camera.identity import new_boot_id

_POLL_S = 0.3
_PUBLISH_S = 20


class NotScoredError(AndonError):
    """No score came. The message says how far the frame got."""


@dataclass(frozen=True)
class Tried:
    score: Score
    seconds: float
    """From the frame to its score."""


def some_picture() -> bytes:
    """A gray PNG with some texture. Which verdict it gets does not matter."""
    pixels = np.random.default_rng().integers(60, 160, (64, 64), np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def try_recipe(settings: Settings, recipe: str, *, timeout_s: float) -> Tried:
    """Raises NotScoredError, TopicError, KafkaUnavailableError."""
    topics = settings.topics
    check_topics(settings, (topics.frames, topics.heartbeats, topics.scores))
    start = ends_of(settings, [topics.scores.name])
    frame = Frame(
        camera_id=CHECK,
        line_id=CHECK,
        station_id=CHECK,
        recipe=recipe,
        boot_id=new_boot_id(now()),
        sequence=0,
        part_id=CHECK,
        captured_at=now(),
        content_type="image/png",
    )
    begun = time.monotonic()
    _publish(settings, frame)
    for records in read_on(settings, [topics.scores.name], start, timeout_s=timeout_s, every_s=_POLL_S):
        for record in records:
            try:
                score = Score.from_json(record.value)
            except ContractError:
                continue  # not ours, and not ours to judge
            if score.frame_id == frame.frame_id:
                return Tried(score, time.monotonic() - begun)
    raise NotScoredError(
        f"frame {frame.frame_id} is in {topics.frames.name!r}, but no score came in {timeout_s:g} s. Is a replica up, "
        f"and does recipe {recipe!r} name the camera {CHECK!r}? What can't be scored is in {topics.frames_dead.name!r}"
    )


def _publish(settings: Settings, frame: Frame) -> None:
    """With the heartbeat that accounts for the frame."""
    topics = settings.topics
    heartbeat = Heartbeat(
        camera_id=CHECK,
        line_id=CHECK,
        boot_id=frame.boot_id,
        captured=1,
        published=1,
        buffered=0,
        spooled=0,
        source_connected=False,
        end=BootEnd.CLEAN,
        sent_at=now(),
    )
    publisher = Publisher(settings, CHECK)
    try:
        publisher.publish(
            [
                Outgoing(topics.frames.name, CHECK.encode(), some_picture(), frame.to_headers()),
                Outgoing(topics.heartbeats.name, f"{CHECK}:{frame.boot_id}".encode(), heartbeat.to_json()),
            ],
            timeout_s=_PUBLISH_S,
        )
    except PublishError as error:
        raise NotScoredError(f"Kafka did not take the frame: {error}") from error
    finally:
        publisher.close(flush_timeout_s=1)
