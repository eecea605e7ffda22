"""Sends one frame through a running factory and waits for its score: does everything between hold together?"""

import io
import time
from dataclasses import dataclass

import numpy as np
from PIL import Image

from pipeline.errors import AndonError
from pipeline.events import CHECK, BootEnd, ContractError, DeadReason, Frame, Heartbeat, Score, now
from pipeline.kafka.admin import check_topics
from pipeline.kafka.dead_letters import cause_of_death
from pipeline.kafka.publisher import Publisher, PublishError
from pipeline.kafka.reading import ends_of, read_on
from pipeline.kafka.records import Incoming, Outgoing
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
    check_topics(settings, (topics.frames, topics.heartbeats, topics.scores, topics.frames_dead))
    answers = [topics.scores.name, topics.frames_dead.name]
    start = ends_of(settings, answers)
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
    for records in read_on(settings, answers, start, timeout_s=timeout_s, every_s=_POLL_S):
        for record in records:
            if record.topic == topics.frames_dead.name:
                _unless_buried(frame, record)
                continue
            try:
                score = Score.from_json(record.value)
            except ContractError:
                continue  # not ours, and not ours to judge
            if score.frame_id == frame.frame_id:
                return Tried(score, time.monotonic() - begun)
    raise NotScoredError(
        f"frame {frame.frame_id} is in {topics.frames.name!r}, but neither a score nor a dead letter came in "
        f"{timeout_s:g} s. Is a replica up, and does it read this Kafka? Its /healthz says what it waits for"
    )


def _unless_buried(frame: Frame, record: Incoming) -> None:
    """Raises NotScoredError, where the record is the dead letter of this frame."""
    headers = dict(record.headers)
    if (headers.get("boot_id"), headers.get("camera_id")) != (frame.boot_id.encode(), frame.camera_id.encode()):
        return
    cause = cause_of_death(record.headers)
    todo = ""
    if cause.get("reason") == DeadReason.UNKNOWN_CAMERA:
        todo = f". Put {CHECK} under `cameras` of the recipe in the Serve configuration, or ask for another recipe"
    raise NotScoredError(f"frame {frame.frame_id} can't be scored: {cause.get('reason')}: {cause.get('detail')}{todo}")


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
