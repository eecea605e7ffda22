"""Where the fibres come from that flows are asked about: an encoder's levels, as in the paper, or RADAR's noise
code."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.detectors.cflow.config import CflowConfig
from pipeline.detectors.cflow.features import level_maps, light
from pipeline.detectors.encoder import Encoder, encoder_from_tensors, encoder_tensors
from pipeline.detectors.radar.anomaly_map import predicted_noise
from pipeline.detectors.radar.config import STRIDE_PX, RadarConfig
from pipeline.detectors.radar.front import FeatureFront, front_from_tensors
from pipeline.detectors.radar.network import NoiseCode, NoisePredictor, cumulative_alphas, load_weights

_ENCODER = "encoder."
_FRONT = "code."
_NETWORK = "code.network."


class Source(Protocol):
    @property
    def strides(self) -> Sequence[int]:
        """Frame pixels per cell, for each level."""
        ...

    def __call__(self, frames: NDArray[np.uint8]) -> list[Tensor]:
        """(N, H, W[, 3]) → per level (N, h, w, C), on the source's device, not whitened."""
        ...

    def to(self, device: torch.device) -> "Source": ...

    def folded(self) -> "Source":
        """For scoring: see `Encoder.folded`."""
        ...

    def tensors(self) -> dict[str, NDArray[Any]]:
        """For the bundle."""
        ...

    def networks(self) -> Mapping[str, tuple[object, str]]:
        """See `Detector.networks`."""
        ...


class LevelSource:
    """The maps of a frozen encoder, each level for itself."""

    def __init__(self, encoder: Encoder, mode: str, config: CflowConfig) -> None:
        self.encoder = encoder
        self._mode = mode
        self._config = config

    @property
    def strides(self) -> Sequence[int]:
        return self.encoder.strides

    def __call__(self, frames: NDArray[np.uint8]) -> list[Tensor]:
        device = next(self.encoder.parameters()).device
        images = light(frames, 3 if self._mode == "rgb" else 1, self._config.contrast_px, device)
        return level_maps(self.encoder, images, self._config.neighbourhood)

    def to(self, device: torch.device) -> "LevelSource":
        return LevelSource(self.encoder.to(device), self._mode, self._config)

    def folded(self) -> "LevelSource":
        return LevelSource(self.encoder.folded(), self._mode, self._config)

    def tensors(self) -> dict[str, NDArray[Any]]:
        return {_ENCODER + name: value for name, value in encoder_tensors(self.encoder).items()}

    def networks(self) -> Mapping[str, tuple[object, str]]:
        return {"encoder": (self.encoder, "net")}


class CodeSource:
    """What RADAR's network, taught to take structured noise away, has to say of a frame, before it writes it out as
    noise (`NoisePredictor.code`): features of the same encoder, adapted to the part. Learning a representation on
    defects of one's own making and a density of normals on top of it is CutPaste's way (arXiv 2104.04015)."""

    def __init__(self, front: FeatureFront, network: NoisePredictor, config: RadarConfig, device: torch.device) -> None:
        self._front = front
        self._plain = network
        self._config = config
        self._device = device
        self._network: nn.Module = NoiseCode(network).eval().to(device)
        self._alpha = float(cumulative_alphas(config)[config.timestep])

    @property
    def strides(self) -> Sequence[int]:
        return (STRIDE_PX,)

    @torch.no_grad()
    def __call__(self, frames: NDArray[np.uint8]) -> list[Tensor]:
        code = predicted_noise(self._network, self._front(frames, self._device), self._alpha, self._config)
        return [code.permute(0, 2, 3, 1)]

    def to(self, device: torch.device) -> "CodeSource":
        return CodeSource(self._front, self._plain, self._config, device)

    def folded(self) -> "CodeSource":
        front = replace(self._front, encoder=self._front.encoder.folded())
        return CodeSource(front, self._plain, self._config, self._device)

    def tensors(self) -> dict[str, NDArray[Any]]:
        own = {_FRONT + name: value for name, value in self._front.tensors().items()}
        return own | {_NETWORK + name: value.half().cpu().numpy() for name, value in self._plain.state_dict().items()}

    def networks(self) -> Mapping[str, tuple[object, str]]:
        return {"encoder": (self._front.encoder, "net"), "noise": (self, "_network")}


def source_from_tensors(config: CflowConfig, mode: str, tensors: Mapping[str, NDArray[Any]]) -> Source:
    """Undoes `Source.tensors`. Raises KeyError or RuntimeError when one is missing or of another shape."""
    if config.code is None:
        return LevelSource(encoder_from_tensors(config.encoder, below(_ENCODER, tensors), config.levels), mode, config)
    front = front_from_tensors(config.code, 3 if mode == "rgb" else 1, below(_FRONT, tensors))
    if not isinstance(front, FeatureFront):
        raise RuntimeError("a noise code is of features, not of pixels")
    network = NoisePredictor(config.code, front.channels)
    load_weights(network, below(_NETWORK, tensors))
    return CodeSource(front, network, config.code, torch.device("cpu"))


def below(prefix: str, tensors: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {name.removeprefix(prefix): array for name, array in tensors.items() if name.startswith(prefix)}
