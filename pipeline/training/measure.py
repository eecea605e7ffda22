"""Runs a detector and the raw-image baselines over the test images of a data set."""

import platform
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.detectors.base import Detector
from pipeline.training.baselines import BASELINES
from pipeline.training.card import Evaluation
from pipeline.training.data import DataError, find_layout, load_frames
from pipeline.training.evaluate import evaluate_images


def measure(detector: Detector, data: Path, machine: str, track: Callable[[range], Iterable[int]] = iter) -> Evaluation:
    """Scores test/good and every other folder below test. Raises DataError when either is missing."""
    layout = find_layout(data)
    if not layout.test_normals or not layout.test_defects:
        raise DataError(
            f"{data} has no test images: put good ones into test/good and defective ones into another folder below test"
        )
    mode = detector.info.input.mode
    frames = load_frames([*layout.test_normals, *layout.test_defects], mode)
    normals = len(layout.test_normals)
    scores, times = np.empty(len(frames)), []
    features: dict[str, NDArray[np.float64]] = {}
    for index in track(range(len(frames))):
        started = time.perf_counter()
        prediction = detector.predict(frames[index][None])
        times.append(time.perf_counter() - started)
        scores[index] = prediction.scores[0]
        for name, value in prediction.features.items():
            features.setdefault(name, np.empty(len(frames)))[index] = value[0]
    gray = frames if mode == "gray" else load_frames([*layout.test_normals, *layout.test_defects], "gray")
    baselines = {name: np.array([baseline(frame) for frame in gray]) for name, baseline in BASELINES.items()}
    return Evaluation(
        data=f"{data.name}: test",
        detector=evaluate_images(scores[:normals], scores[normals:], detector.info.calibration.threshold),
        baselines={name: evaluate_images(values[:normals], values[normals:]) for name, values in baselines.items()},
        features={name: evaluate_images(values[:normals], values[normals:]) for name, values in features.items()},
        ms_per_frame=float(np.median(times)) * 1e3,
        machine=machine,
    )


def machine_facts(device: str) -> str:
    """What the times were measured on."""
    import torch

    from pipeline.detectors.registry import torch_device

    chosen = torch_device(device)
    if chosen.type == "cuda":
        return torch.cuda.get_device_name(chosen)
    return f"CPU ({platform.machine()}, {torch.get_num_threads()} threads)"
