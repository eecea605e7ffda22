"""Small trained models: big enough to have every part, small enough to be trained in a second."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from pipeline.detectors.base import Detector
from pipeline.detectors.cflow.config import CflowConfig
from pipeline.detectors.null import make_null_bundle
from pipeline.detectors.radar.config import RadarConfig
from pipeline.training.cflow.fit import CflowPlan
from pipeline.training.cflow.flow_training import FlowPlan
from pipeline.training.radar.fit import RadarPlan
from pipeline.training.radar.noise_training import NoisePlan
from pipeline.training.told import Told
from pipeline.training.train import train

DETECTORS = ("null", "radar in pixels", "radar in features", "radar in wavelets", "cflow")
TINY_CONFIG = RadarConfig.in_pixels(patch_px=32, contrast_px=15, channels=(8, 16), train_timesteps=500, timestep=50)
TINY_FEATURES = RadarConfig.in_features(patch_px=32, channels=(8, 16), train_timesteps=500, timestep=50)
TINY_WAVELETS = RadarConfig.in_wavelets(patch_px=32, channels=(8, 16), train_timesteps=500, timestep=50)
TINY_PLAN = RadarPlan(noise=NoisePlan(steps=3, batch=2), config=TINY_CONFIG, trees=20, false_alarm_rate=0.1)

TINY_CFLOW = CflowConfig(levels=(1, 2), channels=32, blocks=2, condition=8)
TINY_CFLOW_PLAN = CflowPlan(flow=FlowPlan(epochs=2, fibres_per_level=2000), config=TINY_CFLOW, false_alarm_rate=0.1)


def normal_frames(count: int, height: int = 48, width: int = 56, seed: int = 0) -> NDArray[np.uint8]:
    """(count, height, width): bright with a dark bar, shading and noise, no two alike."""
    random = np.random.default_rng(seed)
    frames = 150 + random.normal(0, 6, (count, height, width)) + random.uniform(-20, 20, (count, 1, 1))
    frames[:, height // 2 : height // 2 + 3] -= 60
    return np.clip(frames, 0, 255).astype(np.uint8)


def write_images(folder: Path, frames: NDArray[np.uint8]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / f"part{number:04d}.png")


def assert_each_thread_gets_its_own(detector: Detector) -> None:
    frames = normal_frames(2, seed=5)
    frames[1, 10:30, 10:40] //= 4
    alone = [detector.predict(frame[None]).scores[0] for frame in frames]
    with ThreadPoolExecutor(2) as pool:
        asked = [number % 2 for number in range(60)]
        found = list(pool.map(lambda number: detector.predict(frames[number][None]).scores[0], asked))
    assert found == [alone[number] for number in asked]


@pytest.fixture(scope="session")
def normals_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("normals")
    write_images(folder / "train" / "good", normal_frames(40))
    return folder


@pytest.fixture(scope="session")
def counted() -> dict[str, list[int]]:
    """What the trainings of `bundles` did with images → how many were shown, how many announced."""
    return {}


@pytest.fixture(scope="session")
def bundles(
    tmp_path_factory: pytest.TempPathFactory, normals_folder: Path, counted: dict[str, list[int]]
) -> dict[str, Path]:
    """Name in DETECTORS → bundle. A new method is added here and there, and the contract suite covers it."""

    def track(numbers: range, doing: str) -> Iterator[int]:
        done = counted.setdefault(doing, [0, 0])
        done[1] += len(numbers)
        for number in numbers:
            yield number
            done[0] += 1

    folder, told = tmp_path_factory.mktemp("bundles"), Told(track=track)
    make_null_bundle(folder / "null", 48, 56)
    radars = {
        "radar in pixels": TINY_CONFIG,
        "radar in features": TINY_FEATURES,
        "radar in wavelets": TINY_WAVELETS,
    }
    for name, config in radars.items():
        plan = replace(TINY_PLAN, config=config)
        train(normals_folder, folder / name, "tiny", plan, torch.device("cpu"), told=told)
    train(normals_folder, folder / "cflow", "tiny", TINY_CFLOW_PLAN, torch.device("cpu"), told=told)
    return {path.name: path for path in folder.iterdir()}
