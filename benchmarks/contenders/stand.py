"""What every contender's process does, whichever environment it runs in: standard library, numpy and Pillow alone.

python CONTENDER.py train JOB.json      trains, writes result.json
python CONTENDER.py score JOB.json      loads the model, scores the test images, writes scores.npz
python CONTENDER.py time JOB.json       loads the model; for each batch size on stdin prints ms per image
"""

import json
import re
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

_MOMENT_S = 0.5
"""Each answer of `time` covers at least so long."""


@dataclass(frozen=True)
class Job:
    method: str
    train: list[str]
    """Images of good parts, all of one size, gray."""
    test: list[str]
    encoder: str
    encoder_weights: str
    """State dict of timm's features_only network, as safetensors."""
    levels: list[int]
    minutes: float
    """Training may take about so long."""
    threads: int
    out: str

    def frames(self, paths: list[str]) -> np.ndarray:
        """(N, H, W) uint8."""
        return np.stack([np.asarray(Image.open(path).convert("L")) for path in paths])


class Contender(Protocol):
    scored_at_once: int
    """Frames in a batch when the test is scored, as the method's own evaluation does it. 1: a frame's score is its own,
    as a stream needs it."""

    def train(self, job: Job) -> dict[str, Any]:
        """Trains and stores the model below job.out. Returns its settings and `model_bytes`."""
        ...

    def load(self, job: Job) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
        """A function from (N, H, W) uint8 to raw scores (N,) and raw maps (N, h, w)."""
        ...


def main(contender: Contender) -> None:
    import torch

    what, job = sys.argv[1], Job(**json.loads(Path(sys.argv[2]).read_text(encoding="utf-8")))
    torch.set_num_threads(job.threads)
    {"train": _train, "score": _score, "time": _time}[what](contender, job)


def _train(contender: Contender, job: Job) -> None:
    started = time.perf_counter()
    facts = contender.train(job)
    facts["training_s"] = time.perf_counter() - started
    facts["training_peak_mb"] = _peak_mb()
    (Path(job.out) / "result.json").write_text(json.dumps(facts))


def _score(contender: Contender, job: Job) -> None:
    predict = contender.load(job)
    # In an order of their own: a batch of one class of defects would tell its scores of each other.
    order = np.random.default_rng(0).permutation(len(job.test))
    scores: list[Any] = [None] * len(order)
    maps: list[Any] = [None] * len(order)
    for start in range(0, len(order), contender.scored_at_once):
        chosen = order[start : start + contender.scored_at_once]
        found, shown = predict(job.frames([job.test[number] for number in chosen]))
        # A row taken for a map would still give figures, and false ones.
        if found.shape != (len(chosen),) or shown.ndim != 3 or len(shown) != len(chosen):
            raise SystemExit(f"{job.method}: for {len(chosen)} frames, scores {found.shape} and maps {shown.shape}")
        for number, score, anomaly_map in zip(chosen, found, shown, strict=True):
            scores[number], maps[number] = score, anomaly_map
    np.savez(Path(job.out) / "scores.npz", scores=np.array(scores, np.float64), maps=np.array(maps, np.float32))


def _time(contender: Contender, job: Job) -> None:
    predict = contender.load(job)
    frames = job.frames((job.test * 16)[:16])
    predict(frames)
    print("ready", flush=True)
    for line in sys.stdin:
        batch = int(line)
        begun, images = time.perf_counter(), 0
        while (spent := time.perf_counter() - begun) < _MOMENT_S:
            predict(frames[:batch])
            images += batch
        print(f"{spent / images * 1e3} {_peak_mb()}", flush=True)


def _peak_mb() -> float:
    """The most memory that this process has held so far. Linux's own figure: what getrusage says of a child begins with
    what its parent held."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(re.search(r"VmHWM:\s+(\d+) kB", status.read_text(encoding="utf-8"))[1]) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # bytes on macOS
