"""From a folder of normals to a bundle, whichever the method: read and shared out, fitted, calibrated, written."""

import platform
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel

from pipeline.detectors.bundle import BundleInfo, save_bundle
from pipeline.training.checkpoint import Progress
from pipeline.training.images.split import Shares
from pipeline.training.normals import Normals, read_normals
from pipeline.training.threshold.calibrate import calibrate
from pipeline.training.told import NOBODY, Told


@dataclass(frozen=True)
class Fitted:
    """What a method makes of normals."""

    config: BaseModel
    tensors: Mapping[str, NDArray[Any]]
    scores: NDArray[np.float64]
    """Of the calibration normals, by what the bundle will hold."""
    reached: Sequence[Progress]
    """Of each network."""
    facts: Mapping[str, Any]
    """For the model card, beside those that are of every method."""


@dataclass(frozen=True)
class Plan(ABC):
    """Everything that is decided before training, and how a method fits itself by it."""

    method: ClassVar[str]
    version: ClassVar[int]
    fitted_on: ClassVar[tuple[str, ...]]
    """The roles whose images must never set a threshold."""
    packages: ClassVar[tuple[str, ...]]
    """That decide the outcome."""

    config: Any
    """The method's own. Its `patch_px` is the shortest side of an image."""
    shares: Shares = field(default_factory=Shares)
    false_alarm_rate: float = 0.01
    same_part: int | None = None
    """See `parts_of`; for the threshold."""
    encoder_weights: Path | None = None
    """See `pretrained_encoder`."""

    @abstractmethod
    def fit(self, normals: Normals, device: torch.device, checkpoint: Path | None, told: Told) -> Fitted:
        """Raises DataError or AndonError (no encoder weights), both before the first training step."""


def train(
    data: Path,
    out: Path,
    name: str,
    plan: Plan,
    device: torch.device,
    command: str = "",
    checkpoint: Path | None = None,
    told: Told = NOBODY,
) -> BundleInfo:
    """data: see `find_layout`. Raises CalibrationError, and what `Plan.fit` raises, before the first training step."""
    started = time.monotonic()
    normals = read_normals(data, plan.shares, plan.false_alarm_rate, plan.config.patch_px, plan.same_part, told.track)
    fitted = plan.fit(normals, device, checkpoint, told)
    info = BundleInfo(
        name=name,
        method=plan.method,
        method_version=plan.version,
        input=normals.spec,
        calibration=calibrate(fitted.scores, normals.calibration_parts, normals.lights, plan.false_alarm_rate),
        config=fitted.config.model_dump(mode="json"),
        training={
            **normals.facts(data, command, plan.fitted_on, plan.packages),
            "steps": sum(one.step for one in fitted.reached),
            "training_s": round(sum(one.elapsed_s for one in fitted.reached), 1),
            "total_s": round(time.monotonic() - started, 1),
            "machine": f"{platform.machine()}, {torch.get_num_threads()} threads, {device.type}",
            **fitted.facts,
        },
        created_at=datetime.now(UTC),
        weights_sha256="0" * 64,
    )
    return save_bundle(out, info, fitted.tensors)
