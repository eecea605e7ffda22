"""`python -m benchmarks.detector_rate BUNDLE…`: frames/s of trained detectors alone, by the size of the batch.

Frames are decoded already. On a GPU with and without CUDA graphs, in turns. It needs torch, safetensors, pydantic and
numpy, and nothing else of Andon's: machines with a GPU are often lent bare.
"""

import argparse
import json
import os
import platform
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

import numpy as np
import torch

from pipeline.detectors.base import Detector
from pipeline.detectors.registry import CUDA_GRAPHS, load_detector, torch_device

_SEEDED = 7
_WARM_UPS = 3
Batch = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]


def rates(
    detectors: Mapping[str, Detector], sizes: Sequence[int], side: int, seconds: float, turns: int
) -> Mapping[str, Mapping[int, float]]:
    """Name → size of the batch → frames/s, the median over turns. Every turn goes once through all detectors."""
    random = np.random.default_rng(_SEEDED)
    found: dict[str, dict[int, float]] = {name: {} for name in detectors}
    for size in sizes:
        batch: Batch = random.integers(0, 256, (size, side, side), dtype=np.uint8)
        reached: dict[str, list[float]] = {name: [] for name in detectors}
        for detector in detectors.values():
            for _ in range(_WARM_UPS):
                detector.predict(batch)
        for _ in range(turns):
            for name, detector in detectors.items():
                reached[name].append(_rate(detector, batch, seconds))
        for name, each in reached.items():
            found[name][size] = round(median(each), 1)
    return found


def _rate(detector: Detector, batch: Batch, seconds: float) -> float:
    """`predict` gives arrays, so it waits for the device by itself."""
    begun, done = time.perf_counter(), 0
    while (took := time.perf_counter() - begun) < seconds:
        detector.predict(batch)
        done += len(batch)
    return done / took


def _loaded(bundle: Path, device: str) -> Mapping[str, Detector]:
    if torch_device(device).type == "cpu":
        return {bundle.name: load_detector(bundle, device)}
    graphs = load_detector(bundle, device)
    os.environ[CUDA_GRAPHS] = "0"
    try:
        return {bundle.name: graphs, f"{bundle.name}, kernel by kernel": load_detector(bundle, device)}
    finally:
        del os.environ[CUDA_GRAPHS]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.detector_rate", description=__doc__)
    parser.add_argument("bundles", type=Path, nargs="+", metavar="BUNDLE")
    parser.add_argument("--device", default="auto", help="auto (a GPU when there is one), cpu or cuda")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8, 64], help="sizes of the batch (1 8 64)")
    parser.add_argument("--side", type=int, default=300, help="of the frames, in px (300)")
    parser.add_argument("--seconds", type=float, default=2, help="of each turn (2)")
    parser.add_argument("--turns", type=int, default=5)
    asked = parser.parse_args()
    device = torch_device(asked.device)
    on = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} threads"
    detectors = {name: one for bundle in asked.bundles for name, one in _loaded(bundle, asked.device).items()}
    found = rates(detectors, asked.batch, asked.side, asked.seconds, asked.turns)
    print(json.dumps({"on": on, "machine": platform.platform(), "torch": torch.__version__, "frames_per_s": found}))


if __name__ == "__main__":
    main()
