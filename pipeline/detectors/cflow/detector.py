"""The trained model as a detector: frames in, scores, maps and features out."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.detectors.base import Prediction
from pipeline.detectors.bundle import BundleInfo, check_version
from pipeline.detectors.cflow.config import METHOD_VERSION, CflowConfig
from pipeline.detectors.cflow.likelihood import peak
from pipeline.detectors.cflow.model import CflowModel
from pipeline.detectors.images import check_batch
from pipeline.detectors.passes import passes
from pipeline.detectors.rounding import round_significant

_FEATURES = ("highest_pixel", "mean_pixel")


class CflowScorer:
    """Frames → scores, maps and features; what is missing to a detector is the bundle around it."""

    def __init__(self, model: CflowModel) -> None:
        self.model = replace(model, encoder=model.encoder.folded())

    def measure(self, batch: NDArray[np.uint8]) -> Prediction:
        """batch: (N, H, W[, 3]). Raises ValueError when a side is below the patch."""
        config = self.model.config
        check_batch(batch)
        height, width = batch.shape[1:3]
        if min(height, width) < config.patch_px:
            raise ValueError(
                f"a frame of {width} × {height} px is below the {config.patch_px} px that this model takes at least: "
                "send larger frames"
            )
        parts = [self._pass(frames, own) for frames, own in passes(batch, self.model.device)]
        if not parts:
            return Prediction(np.empty(0), np.empty((0, 1, 1), np.float32), dict.fromkeys(_FEATURES, np.empty(0)))
        values = round_significant(np.concatenate([values for values, _ in parts]), config.significant_digits)
        maps = np.concatenate([maps for _, maps in parts])
        named = {name: values[:, 1 + column] for column, name in enumerate(_FEATURES)}
        return Prediction(scores=values[:, 0], maps=maps, features=named)

    @torch.inference_mode()
    def _pass(self, frames: NDArray[np.uint8], own: int) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        maps = self.model.anomaly_maps(frames)
        columns = [peak(maps, self.model.config.top_fraction), peak(maps, 0), maps.mean(dim=(1, 2))]
        values: NDArray[np.float64] = torch.stack(columns, dim=1)[:own].cpu().numpy().astype(np.float64)
        return values, maps[:own].cpu().numpy()


class CflowDetector:
    """`Detector` of method 'cflow'."""

    def __init__(self, info: BundleInfo, scorer: CflowScorer) -> None:
        self._info = info
        self._scorer = scorer

    @property
    def info(self) -> BundleInfo:
        return self._info

    def predict(self, batch: NDArray[np.uint8]) -> Prediction:
        """See `Detector.predict`. Score: the mean of the map's highest values, and so in the map's unit: deviations of
        normals at the same place, or nats per channel with `merge: likelihood`."""
        return self._scorer.measure(batch)

    def networks(self) -> Mapping[str, tuple[object, str]]:
        """See `Detector.networks`."""
        model = self._scorer.model
        flows = {f"flow-{level}": (model.flows, str(at)) for at, level in enumerate(model.config.levels)}
        return {"encoder": (model.encoder, "net"), **flows}


def from_bundle(info: BundleInfo, tensors: Mapping[str, NDArray[Any]], device: torch.device) -> CflowDetector:
    """Raises BundleError when the bundle was written for another version of this code; one that holds no whole model
    raises whatever numpy, pydantic and torch do."""
    check_version(info, METHOD_VERSION)
    config = CflowConfig.model_validate(info.config)
    model = CflowModel.from_tensors(config, info.input.mode, tensors)
    return CflowDetector(info, CflowScorer(model.to(device)))
