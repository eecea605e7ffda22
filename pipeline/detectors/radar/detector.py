"""The trained model: frames in, scores, maps and features out."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.detectors.base import Prediction
from pipeline.detectors.bundle import BundleInfo, below, check_version
from pipeline.detectors.fused import fused
from pipeline.detectors.images import check_batch
from pipeline.detectors.passes import passes
from pipeline.detectors.radar import features
from pipeline.detectors.radar.anomaly_map import (
    noise_norm,
    over_frame,
    over_normal,
    pooled,
    predicted_noise,
    sobel_magnitude,
    usual_norms,
)
from pipeline.detectors.radar.config import METHOD_VERSION, RadarConfig
from pipeline.detectors.radar.front import FeatureFront, Front, front_from_tensors
from pipeline.detectors.radar.judgement import Judgement
from pipeline.detectors.radar.network import NoisePredictor, cumulative_alphas, load_weights

NETWORK_PREFIX = "network."
USUAL = "usual_norms"


class RadarFeatures:
    """The part of RADAR before the forest: frames → features and maps. Fitting the forest needs it without a forest."""

    def __init__(self, front: Front, network: NoisePredictor, config: RadarConfig, device: torch.device) -> None:
        self.config = config
        if isinstance(front, FeatureFront):
            encoder = front.encoder.folded().to(device)
            front = replace(front, encoder=encoder, projection=front.projection.to(device))
        self.front = front
        self.device = device
        self.usual = torch.ones(config.rings**2)
        """(rings²,): what the noise is divided by at each place of a frame; ones until `fit_usual`."""
        self._network = fused(network).to(device)
        self._alpha = float(cumulative_alphas(config)[config.timestep])

    def fit_usual(self, normals: Iterable[NDArray[np.uint8]]) -> None:
        """Learns what is usual at each place from normals that the network was not fitted on."""
        self.usual = usual_norms([noise_norm(self._noise(frame[None]))[0].cpu() for frame in normals], self.config)

    def measure(self, batch: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        """(N, H, W[, 3]) → features (N, 2) and maps (N, ceil(H / map_px), ceil(W / map_px))."""
        check_batch(batch)
        height, width = batch.shape[1:3]
        if min(height, width) < self.config.patch_px:
            raise ValueError(
                f"a frame of {width} × {height} px is below the {self.config.patch_px} px patches that this model was "
                "trained on: send larger frames (CFLOW takes them from 32 px up)"
            )
        cell = self.config.map_px
        values = np.empty((len(batch), len(features.NAMES)))
        maps = np.empty((len(batch), -(-height // cell), -(-width // cell)), dtype=np.float32)
        done = 0
        for frames, own in passes(batch, self.device):
            values[done : done + own], maps[done : done + own] = (part[:own] for part in self._measure_pass(frames))
            done += own
        return values, maps

    @torch.inference_mode()
    def _measure_pass(self, frames: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        noise = over_normal(self._noise(frames), self.usual, self.config)
        norm, sobel = (pooled(each, self.config) for each in (noise_norm(noise), sobel_magnitude(noise)))
        values = features.measure(norm, sobel, self.config)
        shown = sobel if self.config.map == "sobel" else norm
        height, width = frames.shape[1:3]
        return values, over_frame(shown, height, width, self.config.map_px).cpu().numpy()

    @torch.inference_mode()
    def _noise(self, frames: NDArray[np.uint8]) -> Tensor:
        return predicted_noise(self._network, self.front(frames, self.device), self._alpha, self.config)


class RadarDetector:
    """`Detector` of method 'radar'."""

    def __init__(self, info: BundleInfo, extractor: RadarFeatures, judgement: Judgement) -> None:
        self._info = info
        self._extractor = extractor
        self._judgement = judgement

    @property
    def info(self) -> BundleInfo:
        return self._info

    def predict(self, batch: NDArray[np.uint8]) -> Prediction:
        """See `Detector.predict`. Score: see `Judgement`."""
        values, maps = self._extractor.measure(batch)
        named = {name: values[:, column] for column, name in enumerate(features.NAMES)}
        return Prediction(scores=self._judgement.score(values), maps=maps, features=named)

    def networks(self) -> Mapping[str, tuple[object, str]]:
        """See `Detector.networks`."""
        noise: dict[str, tuple[object, str]] = {"noise": (self._extractor, "_network")}
        front = self._extractor.front
        return noise | {"encoder": (front.encoder, "net")} if isinstance(front, FeatureFront) else noise


def from_bundle(info: BundleInfo, tensors: Mapping[str, NDArray[Any]], device: torch.device) -> RadarDetector:
    """Raises BundleError when the bundle was written for another version of this code; one that holds no whole model
    raises whatever numpy, pydantic and torch do."""
    check_version(info, METHOD_VERSION)
    channels = 3 if info.input.mode == "rgb" else 1
    config = RadarConfig.model_validate(info.config)
    front = front_from_tensors(config, channels, tensors)
    network = NoisePredictor(config, front.channels)
    load_weights(network, below(NETWORK_PREFIX, tensors))
    judgement = Judgement.from_tensors(tensors)
    extractor = RadarFeatures(front, network, config, device)
    extractor.usual = torch.from_numpy(tensors[USUAL])
    return RadarDetector(info, extractor, judgement)
