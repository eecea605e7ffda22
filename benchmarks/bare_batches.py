"""What scoring alone takes, by the size of the batch: the measure of what the plant adds."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import numpy as np
import torch

from pipeline.detectors.base import Detector
from pipeline.frames import decode


def bare_batch_ms(detector: Detector, paths: Sequence[Path], sizes: Sequence[int], times: int) -> Mapping[int, float]:
    """Size of the batch → median milliseconds of the detector on frames that are decoded already."""
    frames = [decode(path.read_bytes(), detector.info.input.mode) for path in paths]
    found = {}
    for size in sizes:
        batch = np.stack([frames[number % len(frames)] for number in range(size)])
        detector.predict(batch)  # the first pass of a size sets things up
        took = []
        for _ in range(times):
            begun = time.perf_counter()
            detector.predict(batch)
            took.append((time.perf_counter() - begun) * 1000)
        found[size] = round(median(took), 2)
    return found


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
