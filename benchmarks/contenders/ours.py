"""Andon's own methods, as `andon train` trains them, and the same bundles on the engines of `andon export`."""

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
_COMPARED = 8
"""Training images on which an engine must say what torch says."""


class Ours:
    scored_at_once = 1

    def train(self, job: Job) -> dict[str, Any]:
        from pipeline.detectors.radar.config import RadarConfig
        from pipeline.training.cflow.fit import CflowPlan
        from pipeline.training.radar.fit import RadarPlan
        from pipeline.training.radar.noise_training import NoisePlan
        from pipeline.training.train import Plan, train

        out = Path(job.out) / "bundle"
        method, runtime = _method_and_runtime(job)
        if runtime != "torch":
            return _exported(job, method, runtime, out)
        with tempfile.TemporaryDirectory() as folder:
            for path in job.train:
                os.link(path, Path(folder) / Path(path).name) if _same_disk(path, folder) else _copy(path, folder)
            if method == "cflow":
                config = CflowPlan().config.model_copy(update={"encoder": job.encoder})
                plan: Plan = CflowPlan(config=config, false_alarm_rate=_FALSE_ALARMS)
            else:  # the defaults of `andon train radar`
                plan = RadarPlan(
                    noise=NoisePlan(flips=False), config=RadarConfig.in_features(), false_alarm_rate=_FALSE_ALARMS
                )
            info = train(Path(folder), out, job.method, plan, _CPU)
        facts = {key: info.training[key] for key in ("images", "steps", "plan")}
        return {"settings": facts, "model_bytes": _size(out)}

    def load(self, job: Job) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
        detector = load_detector(Path(job.out) / "bundle", "cpu", _method_and_runtime(job)[1])

        def predict(frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            found = detector.predict(frames)
            return found.scores, found.maps

        return predict


def _method_and_runtime(job: Job) -> tuple[str, Any]:
    """'cflow-onnx' is what cflow has trained, on ONNX Runtime."""
    method, _, engine = job.method.partition("-")
    return method, engine or "torch"


def _exported(job: Job, method: str, runtime: Any, out: Path) -> dict[str, Any]:
    from pipeline.training.export import export_bundle

    trained = Path(job.out).parent / method / "bundle"
    if not trained.exists():
        raise SystemExit(f"{job.method} takes the bundle of {method}: name that method before it")
    export = export_bundle(trained, out, runtime, list(job.frames(job.train[:_COMPARED])))
    return {"settings": {"versions": export.versions, "parity": export.parity}, "model_bytes": _size(out)}


def _size(bundle: Path) -> int:
    return sum(path.stat().st_size for path in bundle.rglob("*") if path.is_file())


def _same_disk(path: str, folder: str) -> bool:
    return os.stat(path).st_dev == os.stat(folder).st_dev


def _copy(path: str, folder: str) -> None:
    (Path(folder) / Path(path).name).write_bytes(Path(path).read_bytes())


if __name__ == "__main__":
    main(Ours())
