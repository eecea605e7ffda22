"""A plant for the page to look at: real frames in Kafka, real maps in Redis, scores as a replica writes them."""

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np
from alerting.running import environment
from PIL import Image, ImageDraw

from pipeline.detectors.bundle import read_info
from pipeline.events import (
    BootEnd,
    Doubt,
    Frame,
    Heartbeat,
    KafkaPosition,
    ModelRef,
    Score,
    Verdict,
    now,
)
from pipeline.kafka.publisher import Publisher
from pipeline.kafka.reading import read_to_end
from pipeline.kafka.records import Outgoing
from pipeline.maps import MapEntry, MapStore, map_key, thumbnail
from pipeline.replica.recipes import SHIPPED_BUNDLES
from pipeline.settings import Settings

BOOT = "20261122T110000"
_SHIPPED = read_info(SHIPPED_BUNDLES / "elpv-mono-radar")
MODEL = ModelRef(bundle=_SHIPPED.name, method=_SHIPPED.method, hash=_SHIPPED.model_hash)
"""A model whose bundle is on this machine, so that a version of it can be written."""
LETTERS = {"x": Verdict.NOT_OK, ".": Verdict.OK, "?": Verdict.NOT_DECIDABLE}

__all__ = ["BOOT", "MODEL", "Plant", "environment", "score"]


def score(sequence: int, verdict: Verdict = Verdict.OK, **changes: object) -> Score:
    """One score, for tests that need no Kafka."""
    camera = str(changes.pop("camera", "cam-1"))
    at = changes.pop("captured_at", None)
    captured_at = at if isinstance(at, datetime) else now()
    blind = verdict is Verdict.NOT_DECIDABLE
    frame_id = f"{camera}:{changes.get('boot_id', BOOT)}:{sequence}"
    made = Score(
        frame_id=frame_id,
        camera_id=camera,
        line_id="line-1",
        station_id="s1",
        boot_id=BOOT,
        sequence=sequence,
        part_id=f"part-{sequence}",
        recipe="cells",
        captured_at=captured_at,
        scored_at=captured_at + timedelta(milliseconds=200),
        verdict=verdict,
        doubts=(Doubt.DARK,) if blind else (),
        score=None if blind else 0.9 if verdict is Verdict.NOT_OK else 0.1,
        threshold=0.5,
        features={"spread": 0.25, "peak": 1.5},
        model=MODEL,
        map_key=map_key(frame_id, MODEL.hash),
        map_expires_at=captured_at + timedelta(hours=1),
        timings_ms={"transit": 3.0, "infer": 41.5},
        position=KafkaPosition(topic="frames", partition=0, offset=sequence),
    )
    return made.model_copy(update=changes)


def picture(bad: bool, seed: int, shape: tuple[int, int] = (96, 96)) -> np.ndarray:
    """(H, W) gray: a speckled cell with bus bars; a bad one has a dark crack."""
    image = Image.fromarray(np.random.default_rng(seed).normal(150, 9, shape).clip(0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    height, width = shape
    for x in (width // 4, width // 2, 3 * width // 4):
        draw.line((x, 0, x, height), fill=190, width=2)
    if bad:
        draw.line((width // 5, 5 * height // 6, 3 * width // 4, height // 3), fill=30, width=4)
    return np.asarray(image)


@dataclass
class Plant:
    settings: Settings
    sequences: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.publisher = Publisher(self.settings, "plant")
        self.maps = MapStore(self.settings.redis_address)

    def close(self) -> None:
        self.publisher.close()
        self.maps.close()

    def shoot(
        self, line: str, camera: str, letters: str, *, age_s: float = 0, model: ModelRef = MODEL,
        shape: tuple[int, int] = (96, 96),
    ) -> list[Score]:  # fmt: skip
        """A frame for each letter: 'x' NOT_OK, '.' OK, '?' NOT_DECIDABLE. Returns the scores as published."""
        at, first = now() - timedelta(seconds=age_s), self.sequences.get(camera, 0)
        self.sequences[camera] = first + len(letters)
        frames, pixels = [], []
        for i, letter in enumerate(letters):
            frames.append(
                Frame(
                    camera_id=camera, line_id=line, station_id="s1", recipe="cells", boot_id=BOOT, sequence=first + i,
                    part_id=f"part-{first + i}", captured_at=at + timedelta(milliseconds=i), content_type="image/png",
                )
            )  # fmt: skip
            pixels.append(picture(letter == "x", first + i, shape))
        topics = self.settings.topics
        self.publisher.publish(
            Outgoing(topics.frames.name, camera.encode(), _png(image), frame.to_headers())
            for frame, image in zip(frames, pixels, strict=True)
        )
        places = self._places()
        scores = []
        for frame, image, letter in zip(frames, pixels, letters, strict=True):
            made = score(
                frame.sequence, LETTERS[letter], camera=camera, captured_at=frame.captured_at, line_id=line,
                position=places[frame.frame_id], model=model, map_key=map_key(frame.frame_id, model.hash),
            )  # fmt: skip
            scores.append(made)
            self.maps.put([_entry(made, image)])
        self.tell(scores)
        return scores

    def crowd(self, line: str, count: int) -> list[str]:
        """So many cameras with one picture each, which Kafka does not hold. Returns their names."""
        cameras = [f"{line}-{number:03d}" for number in range(count)]
        scores = [
            score(0, camera=camera, line_id=line, map_key=map_key(f"{camera}:{BOOT}:0", MODEL.hash))
            for camera in cameras
        ]
        self.maps.put([_entry(one, picture(False, number)) for number, one in enumerate(scores)])
        self.tell(scores)
        return cameras

    def strange_cameras(self, line: str) -> None:
        """A camera for each way not to be seen: old, away, ended and hung."""
        self.shoot(line, f"{line}-old", ".", age_s=60)
        self.shoot(line, f"{line}-away", ".")
        self.beat(line, f"{line}-away", source_connected=False)
        self.shoot(line, f"{line}-ended", ".", age_s=60)
        self.beat(line, f"{line}-ended", end=BootEnd.CLEAN)
        (frozen,) = self.shoot(line, f"{line}-hung", "?")
        again = {"sequence": frozen.sequence + 1, "frame_id": f"{line}-hung:{frozen.boot_id}:{frozen.sequence + 1}"}
        self.tell([frozen.model_copy(update=again | {"doubts": (Doubt.FROZEN,), "verdict": Verdict.NOT_DECIDABLE})])

    def tell(self, events: Sequence[Score]) -> None:
        topic = self.settings.topics.scores.name
        self.publisher.publish(Outgoing(topic, event.line_id.encode(), event.to_json()) for event in events)

    def beat(self, line: str, camera: str, **changes: object) -> None:
        captured = self.sequences.get(camera, 0)
        beat = Heartbeat(
            camera_id=camera, line_id=line, boot_id=BOOT, captured=captured, published=captured, buffered=0, spooled=0,
            source_connected=True, sent_at=now(),
        ).model_copy(update=changes)  # fmt: skip
        topic = self.settings.topics.heartbeats.name
        self.publisher.publish([Outgoing(topic, f"{camera}:{beat.boot_id}".encode(), beat.to_json())])

    def _places(self) -> dict[str, KafkaPosition]:
        topic = self.settings.topics.frames.name
        return {
            Frame.from_headers(record.headers).frame_id: KafkaPosition(
                topic=topic, partition=record.partition, offset=record.offset
            )
            for record in read_to_end(self.settings, [topic])
        }


def _entry(made: Score, image: np.ndarray) -> MapEntry:
    small = np.asarray(Image.fromarray(image).resize((24, 24)), np.float32)  # a model's grid is square
    grid = np.abs(small - 150) / 150
    facts = {"verdict": made.verdict.value, "score": str(made.score), "threshold": "0.5"}
    return MapEntry(made.map_key or "", made.frame_id, grid, thumbnail(image), facts, made.position)


def _png(pixels: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()
