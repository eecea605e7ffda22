"""Andon's own methods, as `andon train` trains them."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.contenders.stand import Job, main
from pipeline.detectors.registry import load_detector

_CPU = torch.device("cpu")
_FALSE_ALARMS = 0.1
"""The threshold is not part of any figure here; few images must be enough for it."""


class Ours:
    def train(self, job: Job) -> dict[str, Any]:
        from pipeline.training.cflow import CflowPlan, train_cflow
        from pipeline.training.radar import RadarPlan, train_radar

        out = Path(job.out) / "bundle"
        with tempfile.TemporaryDirectory() as folder:
            for path in job.train:
                os.link(path, Path(folder) / Path(path).name) if _same_disk(path, folder) else _copy(path, folder)
            if job.method.startswith("cflow"):
                config = CflowPlan().config.model_copy(update={"encoder": job.encoder})
                plan = CflowPlan(config=config, false_alarm_rate=_FALSE_ALARMS)
                info = train_cflow(Path(folder), out, job.method, plan, _CPU)
            else:
                info = train_radar(Path(folder), out, job.method, _radar_plan(RadarPlan), _CPU)
        facts = {key: info.training[key] for key in ("images", "steps", "plan")}
        return {"settings": facts, "model_bytes": sum(path.stat().st_size for path in out.iterdir())}

    def load(self, job: Job) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
        detector = load_detector(Path(job.out) / "bundle", "cpu")

        def predict(frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            found = detector.predict(frames)
            return found.scores, found.maps

        return predict


def _radar_plan(plan: Any) -> Any:
    """The defaults of `andon train radar`."""
    from pipeline.detectors.radar.config import RadarConfig
    from pipeline.training.noise_training import NoisePlan

    return plan(
        noise=NoisePlan(steps=350, flips=False), config=RadarConfig.in_features(), false_alarm_rate=_FALSE_ALARMS
    )


def _same_disk(path: str, folder: str) -> bool:
    return os.stat(path).st_dev == os.stat(folder).st_dev


def _copy(path: str, folder: str) -> None:
    (Path(folder) / Path(path).name).write_bytes(Path(path).read_bytes())


if __name__ == "__main__":
    main(Ours())
