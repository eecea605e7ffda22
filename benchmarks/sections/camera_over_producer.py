"""What accounting for every frame costs a camera in processor time, against a producer that just sends files: bare
ones, as the goal says, and such that carry the headers of a frame, which any consumer of frames needs. How many MB/s
either sends hangs on the disk and the broker more than on them, and scatters; it is told beside it."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from kafka import KafkaProducer

from benchmarks.arrivals import arrival_span_s
from benchmarks.contest import Contender, Say, in_turns
from benchmarks.findings import Finding, Goal, Relation
from benchmarks.machine import MB
from benchmarks.pictures import opaque_files
from benchmarks.stage import Stage
from pipeline.events import Frame, now
from pipeline.kafka.connection import connection
from pipeline.settings import Settings
from pipeline.topics import MAX_DEAD_RECORD_BYTES
from workers.camera import worker
from workers.camera.buffer import WhenFull
from workers.camera.config import Camera, CameraConfig, FolderSource

_CAMERA = "cam-1"
_FLUSH_S = 120
_BUFFER_MIB = 8
_GOAL = Goal(Relation.AT_LEAST, 0.9)

Headers = list[tuple[str, bytes]]


def camera_over_bare_producer(stage: Stage, say: Say) -> list[Finding]:
    return [finding for size_kb in (100, 20) for finding in _of_size(stage, say, size_kb)]


def _of_size(stage: Stage, say: Say, size_kb: int) -> list[Finding]:
    say(f"writing files of {size_kb} KB")
    frames = stage.sized(200 * MB, 50 * MB) // (size_kb * 1000)
    folder = opaque_files(stage.folder / f"frames-{size_kb}-kb", frames, size_kb * 1000)

    mb_s: dict[str, list[float]] = {}

    def contender(name: str, send_all: Callable[[Settings], None]) -> Contender:
        def rate() -> float:
            with stage.topics() as settings:
                before_s = time.process_time()
                send_all(settings)
                spent_s = time.process_time() - before_s
                mb_s.setdefault(name, []).append(frames * size_kb * 1000 / MB / arrival_span_s(settings, frames))
                return frames / spent_s

        return Contender(name, rate)

    camera = contender("camera worker", lambda settings: _run_camera(settings, folder))
    bare = contender("bare producer", lambda settings: _run_producer(settings, folder, []))
    headed = contender("producer with headers", lambda settings: _run_producer(settings, folder, _headers()))
    unit = "frames per second of one core"
    rates = in_turns((camera, bare, headed), unit, stage.sized(9, 2), lambda text: say(f"{size_kb} KB, {text}"))
    facts = {
        "frames": frames,
        "frame_bytes": size_kb * 1000,
        "mb_per_s": {name: round(median(found), 1) for name, found in mb_s.items()},
    }
    return [
        rates.ratio(f"camera_over_bare_producer, {size_kb} KB", camera, bare, _GOAL, **facts),
        rates.ratio(f"camera_over_bare_producer, {size_kb} KB, same headers", camera, headed, _GOAL, **facts),
    ]


def _run_camera(settings: Settings, folder: Path) -> None:
    source = FolderSource(type="folder", path=folder)
    camera = Camera(camera_id=_CAMERA, line_id="line-1", station_id="s1", recipe="null", source=source)
    config = CameraConfig(buffer_mib=_BUFFER_MIB, when_full=WhenFull.BLOCK, cameras=(camera,))
    worker.run(config, settings, threading.Event())


def _run_producer(settings: Settings, folder: Path, headers: Headers) -> None:
    producer = KafkaProducer(
        **connection(settings, "bench-bare"),
        acks="all",
        allow_auto_create_topics=False,
        batch_size=2 * 1024 * 1024,
        enable_idempotence=True,
        linger_ms=0,
        max_request_size=MAX_DEAD_RECORD_BYTES,
    )
    topic, key = settings.topics.frames.name, _CAMERA.encode()
    try:
        for path in sorted(folder.iterdir()):
            producer.send(topic, key=key, value=path.read_bytes(), headers=headers)
        producer.flush(timeout=_FLUSH_S)
    finally:
        producer.close(timeout=5)


def _headers() -> Headers:
    facts = Frame(
        camera_id=_CAMERA,
        line_id="line-1",
        station_id="s1",
        recipe="null",
        boot_id="20260101T000000-abcdef",
        sequence=1234,
        part_id=f"{_CAMERA}:20260101T000000-abcdef:1234",
        captured_at=now(),
        content_type="image/jpeg",
    )
    return facts.to_headers()
