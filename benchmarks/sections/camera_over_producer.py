"""What accounting for every frame costs a camera, against a producer that just sends files."""

import threading
from pathlib import Path

from kafka import KafkaProducer

from benchmarks.arrivals import arrival_span_s
from benchmarks.contest import Contender, Contest, Say
from benchmarks.findings import Finding, Goal, Relation
from benchmarks.machine import MB
from benchmarks.pictures import opaque_files
from benchmarks.stage import Stage
from pipeline.kafka.connection import connection
from pipeline.settings import Settings
from pipeline.topics import MAX_DEAD_RECORD_BYTES
from workers.camera import worker
from workers.camera.buffer import WhenFull
from workers.camera.config import Camera, CameraConfig, FolderSource

_FILES = 500
_CAMERA = "cam-1"
_FLUSH_S = 120
_BUFFER_MIB = 8
"""The least. What waits there before the link to Kafka is up was read before the clock started."""


def camera_over_bare_producer(stage: Stage, say: Say) -> list[Finding]:
    return [_of_size(stage, say, size_kb) for size_kb in (100, 20)]


def _of_size(stage: Stage, say: Say, size_kb: int) -> Finding:
    folder = opaque_files(stage.folder / f"frames-{size_kb}-kb", _FILES, size_kb * 1000)
    frames = stage.sized(400 * MB, 50 * MB) // (size_kb * 1000)
    megabytes = frames * size_kb * 1000 / MB

    def camera_rate() -> float:
        with stage.topics() as settings:
            _run_camera(settings, folder, frames)
            return megabytes / arrival_span_s(settings, frames)

    def producer_rate() -> float:
        with stage.topics() as settings:
            _run_producer(settings, folder, frames)
            return megabytes / arrival_span_s(settings, frames)

    contest = Contest("MB/s", Contender("camera worker", camera_rate), Contender("bare producer", producer_rate))
    outcome = contest.run(stage.sized(5, 2), lambda text: say(f"{size_kb} KB, {text}"))
    goal = Goal(Relation.AT_LEAST, 0.9)
    return outcome.finding(f"camera_over_bare_producer, {size_kb} KB", goal, frames=frames, frame_bytes=size_kb * 1000)


def _run_camera(settings: Settings, folder: Path, frames: int) -> None:
    source = FolderSource(type="folder", path=folder, loop=True)
    camera = Camera(camera_id=_CAMERA, line_id="line-1", station_id="s1", recipe="null", source=source)
    config = CameraConfig(buffer_mib=_BUFFER_MIB, when_full=WhenFull.BLOCK, cameras=(camera,))
    worker.run(config, settings, threading.Event(), frames_per_camera=frames)


def _run_producer(settings: Settings, folder: Path, frames: int) -> None:
    producer = KafkaProducer(
        **connection(settings, "bench-bare"),
        acks="all",
        allow_auto_create_topics=False,
        batch_size=2 * 1024 * 1024,
        enable_idempotence=True,
        linger_ms=0,
        max_request_size=MAX_DEAD_RECORD_BYTES,
    )
    try:
        paths = sorted(folder.iterdir())
        for number in range(frames):
            path = paths[number % len(paths)]
            producer.send(settings.topics.frames.name, key=_CAMERA.encode(), value=path.read_bytes())
        producer.flush(timeout=_FLUSH_S)
    finally:
        producer.close(timeout=5)
