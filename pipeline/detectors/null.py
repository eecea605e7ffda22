"""A detector without a network. Benchmarks run it to time everything around a detector."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.detectors.base import Prediction
from pipeline.detectors.bundle import BundleInfo, Calibration, InputSpec, QualityLimits, save_bundle

METHOD = "null"
_MAP_CELLS = 8
"""The map has at most 8 × 8 cells: enough to travel the whole way, too small to cost anything."""


class NullDetector:
    """Score: mean gray level / 255. Map: a coarse sampling of the frame."""

    def __init__(self, info: BundleInfo) -> None:
        self._info = info

    @property
    def info(self) -> BundleInfo:
        return self._info

    def predict(self, batch: NDArray[np.uint8]) -> Prediction:
        if min(batch.shape[1:3]) < 1:
            raise ValueError("a frame must have at least one pixel")
        gray = batch if batch.ndim == 3 else batch[..., 1]
        levels = gray.mean(axis=(1, 2), dtype=np.float64) / 255
        rows, columns = (-(-side // _MAP_CELLS) for side in gray.shape[1:3])
        maps = (gray[:, ::rows, ::columns] / np.float32(255)).astype(np.float32)
        return Prediction(scores=levels, maps=maps, features={"mean_level": levels})

    def networks(self) -> Mapping[str, tuple[object, str]]:
        return {}


def make_null_bundle(folder: Path, height: int, width: int, threshold: float = 0.5) -> BundleInfo:
    """Writes a bundle for gray frames of this size, in pixels. Frames whose score reaches the threshold are NOT_OK."""
    info = BundleInfo(
        name=folder.name,
        method=METHOD,
        method_version=1,
        input=InputSpec(height_px=height, width_px=width, mode="gray"),
        calibration=Calibration(
            threshold=threshold,
            false_alarm_rate=0.01,
            normals=1,
            score_quantiles={"0.01": 0.0, "0.5": 0.25, "0.99": 0.5},
            quality=QualityLimits(dark_below=0.0, bright_above=255.0, blurred_below=0.0),
        ),
        config={},
        training={},
        created_at=datetime.now(UTC),
        weights_sha256="0" * 64,
    )
    return save_bundle(folder, info, {})
