"""Makes frames and reads what became of them."""

import io
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

import numpy as np
from PIL import Image
from support.waiting import wait_until as wait_until

from pipeline.events import Frame, Score, now
from pipeline.kafka.admin import MissingTopicsError, check_topics, delete_topics, ensure_topics
from pipeline.kafka.consumer import ConsumerLoop
from pipeline.kafka.publisher import Publisher
from pipeline.kafka.reading import read_to_end
from pipeline.kafka.records import Incoming, Outgoing
from pipeline.kafka.step import Backpressure, ConsumerOptions, Step
from pipeline.maps import MapEntry
from pipeline.scoring import Scored
from pipeline.settings import Settings
from pipeline.topics import Topic
from workers.local.kafka_broker import KafkaBroker

BOOT = "b1"


class NotText(str):
    """A header's name that is no UTF-8, as a client in another language may send it."""

    def encode(self, *_: Any) -> bytes:
        return b"\xff\xfe"


def settings_for(kafka_bootstrap: str, prefix: str, redis_url: str = "redis://127.0.0.1:1/0", **more: Any) -> Settings:
    return Settings(
        kafka_bootstrap=kafka_bootstrap,
        redis_url=redis_url,
        andon_topic_prefix=prefix,
        andon_frame_partitions=more.pop("frame_partitions", 2),
        andon_line_partitions=more.pop("line_partitions", 2),
        **more,
    )


def picture(level: int = 40, size: tuple[int, int] = (32, 32), seed: int | None = None, **save: Any) -> bytes:
    """A gray PNG: flat, or speckled around the level when a seed is given."""
    pixels = np.full(size, level, np.uint8)
    if seed is not None:
        pixels = np.clip(np.random.default_rng(seed).normal(level, 8, size), 0, 255).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG", **save)
    return out.getvalue()


def frame(sequence: int, camera: str = "cam-1", **facts: Any) -> Frame:
    return Frame(
        **{
            "camera_id": camera,
            "line_id": "line-1",
            "station_id": "s1",
            "recipe": "null",
            "boot_id": BOOT,
            "sequence": sequence,
            "part_id": f"part-{sequence}",
            "captured_at": now(),
            "content_type": "image/png",
        }
        | facts
    )


def outgoing(topic: str, facts: Frame, value: bytes | None = None) -> Outgoing:
    return Outgoing(topic, facts.camera_id.encode(), value or picture(seed=facts.sequence), facts.to_headers())


def incoming(facts: Frame, value: bytes | None, offset: int = 0, **changes: Any) -> Incoming:
    """The record as a replica would read it, arrived 20 ms after capture."""
    arrived_ms = int(facts.captured_at.timestamp() * 1000) + 20
    fields = {"key": facts.camera_id.encode(), "value": value, "headers": tuple(facts.to_headers())}
    return Incoming("frames", 0, offset, arrived_ms, **(fields | changes))


def send_unreadable(settings: Settings, topic: str) -> None:
    """A record that kafka-python can't make out."""
    with closing(Publisher(settings, "odd")) as publisher:
        publisher.publish([Outgoing(topic, b"k", b"x", ((NotText("x"), b"1"),))])


def scores_in(settings: Settings) -> list[Score]:
    return [Score.from_json(record.value) for record in read_to_end(settings, [settings.topics.scores.name])]


def make_anew(settings: Settings, topic: Topic) -> None:
    def is_gone() -> bool:
        try:
            check_topics(settings, [topic])
        except MissingTopicsError:
            return True
        return False

    delete_topics(settings, topic.name)
    wait_until(is_gone)
    ensure_topics(settings, [topic])


def lose_the_end(broker: KafkaBroker, *topics: str) -> None:
    """What of each topic's only partition had not reached the disk when the power was cut."""
    broker.kill()
    for topic in topics:
        folder = broker.folder / "data" / f"{topic}-0"
        (log,) = folder.glob("*.log")
        os.truncate(log, log.stat().st_size * 3 // 4)
        for derived in [*folder.glob("*index"), *folder.glob("*.snapshot")]:
            derived.unlink()
    broker.start()


class Collect:
    """Keeps what was delivered. `away` makes deliveries wait."""

    def __init__(self) -> None:
        self.seen: list[bytes] = []
        self.assignments: list[Sequence[tuple[str, int]]] = []
        self.away = threading.Event()
        self.attempts = 0

    def assigned(self, partitions: Sequence[tuple[str, int]]) -> None:
        self.assignments.append(partitions)

    def work(self, batch: Sequence[Incoming]) -> list[bytes]:
        return [record.value or b"" for record in batch]

    def deliver(self, result: list[bytes]) -> None:
        self.attempts += 1
        if self.away.is_set():
            raise Backpressure("the test is away")
        self.seen += result


class NoStore:
    """In place of a `MapStore`, where no map matters."""

    def put(self, maps: Sequence[MapEntry]) -> None:
        pass


class Nobody:
    """An observer that looks away."""

    def delivered(self, scored: Scored, deliver_s: float) -> None:
        pass


@contextmanager
def running(
    settings: Settings, options: ConsumerOptions, step: Step[Any], ended: threading.Event | None = None
) -> Iterator[ConsumerLoop[Any]]:
    """A consumer loop on a thread; stopped at the end. An error of the loop is raised here.

    ended: set when the loop has ended, of itself or not.
    """
    stop = threading.Event()
    loop = ConsumerLoop(settings, options, step, stop)
    errors: list[BaseException] = []

    def run() -> None:
        try:
            loop.run()
        except BaseException as error:
            errors.append(error)
        finally:
            if ended is not None:
                ended.set()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield loop
    finally:
        stop.set()
        thread.join(90)
        assert not thread.is_alive()
    if errors:
        raise errors[0]
