"""What one camera worker with fifty cameras holds."""

import sys
import time
from pathlib import Path
from statistics import median

import yaml

from benchmarks.arrivals import frames_arrived
from benchmarks.contest import Say
from benchmarks.findings import Finding, Goal, Relation
from benchmarks.machine import rss_mb
from benchmarks.pictures import opaque_files
from benchmarks.stage import Stage, environment
from workers.local.process import ChildProcess

_CAMERAS = 50
_FPS = 2
_FRAME_BYTES = 20_000


def camera_memory(stage: Stage, say: Say) -> list[Finding]:
    images = opaque_files(stage.folder / "frames-of-50", 100, _FRAME_BYTES)
    config = stage.folder / "fifty-cameras.yaml"
    config.write_text(yaml.safe_dump({"cameras": [_camera(number, images) for number in range(_CAMERAS)]}))
    seconds = stage.sized(60, 10)
    samples = []
    with stage.topics() as settings:
        command = [sys.executable, "-m", "workers", "camera", "run", "--config", str(config)]
        child = ChildProcess("camera worker", command, stage.folder / "camera.log", Path.cwd(), environment(settings))
        try:
            for second in range(seconds):
                time.sleep(1)
                if not child.running:
                    raise RuntimeError(f"the camera worker ended:\n{child.log_tail()}")
                samples.append(round(rss_mb(child.pid), 2))
                say(f"{_CAMERAS} cameras, {second + 1}/{seconds} s: {samples[-1]:.0f} MB")
        finally:
            child.stop(20)
        arrived = frames_arrived(settings)
    return [
        Finding(
            name="camera_memory",
            measured=max(samples),
            unit="MB",
            goal=Goal(Relation.AT_MOST, 200),
            how=f"the most in {seconds} s, median {median(samples):.0f} MB; {arrived} frames arrived",
            raw={"rss_mb": samples, "cameras": _CAMERAS, "fps": _FPS, "frame_bytes": _FRAME_BYTES, "arrived": arrived},
        )
    ]


def _camera(number: int, images: Path) -> dict[str, object]:
    return {
        "camera_id": f"cam-{number}",
        "line_id": f"line-{number % 4}",
        "station_id": "s1",
        "recipe": "null",
        "source": {"type": "folder", "path": str(images), "fps": _FPS, "loop": True},
    }
