"""From an encoder's features to the few directions in which damage shows, at about unit covariance over normals."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from pipeline.detectors.radar.border import by_ring
from pipeline.detectors.radar.config import RadarConfig
from pipeline.detectors.radar.preprocess import box_mean

_PREFIX = "front."


@dataclass(frozen=True)
class Projection:
    """Two linear steps: each fibre by itself, then each beside the mean of those around it. Unwhitened, the few
    directions of high variance would drown the ones in which defects differ."""

    mean: Tensor
    """(rings, C): of normals' fibres in each ring from the border inwards."""
    whitening: Tensor
    """(rings, K, C): gives those fibres about unit covariance, so that one step of white noise means the same in every
    direction, and keeps K directions."""
    around: Tensor | None
    """(R, 2K): of a fibre, and of how the mean around it differs from it, R directions, white once more; None where
    fibres are taken one by one."""

    @property
    def channels(self) -> int:
        return len(self.around) if self.around is not None else self.whitening.shape[1]

    def __call__(self, features: Tensor, config: RadarConfig) -> Tensor:
        """(N, C, h, w) → (N, channels, h, w)."""
        white = whiten(features, self.mean, self.whitening, config)
        if self.around is None:
            return white
        return functional.conv2d(beside_their_surroundings(white, config), self.around[:, :, None, None])

    def to(self, device: torch.device) -> Self:
        around = None if self.around is None else self.around.to(device)
        return type(self)(self.mean.to(device), self.whitening.to(device), around)

    def rounded(self) -> Self:
        """To half precision, as a bundle keeps it."""
        around = None if self.around is None else self.around.half().float()
        return type(self)(self.mean, self.whitening.half().float(), around)

    def tensors(self) -> dict[str, NDArray[Any]]:
        """For the bundle."""
        own = {"mean": self.mean.numpy(), "whitening": self.whitening.half().numpy()}
        if self.around is not None:
            own["around"] = self.around.half().numpy()
        return {_PREFIX + name: array for name, array in own.items()}

    @classmethod
    def from_tensors(cls, config: RadarConfig, tensors: Mapping[str, NDArray[Any]]) -> Self:
        """Undoes `tensors`. Raises KeyError when one is missing."""

        def taken(name: str) -> Tensor:
            return torch.from_numpy(np.asarray(tensors[_PREFIX + name], dtype=np.float32))

        return cls(taken("mean"), taken("whitening"), taken("around") if config.around_cells > 1 else None)


def whiten(features: Tensor, mean: Tensor, whitening: Tensor, config: RadarConfig) -> Tensor:
    """(N, C, h, w) → (N, K, h, w): each fibre by the mean (rings, C) and matrix (rings, K, C) of its ring."""
    height, width = features.shape[-2:]
    fibres = features.permute(0, 2, 3, 1).flatten(1, 2)
    white = fibres.new_empty(*fibres.shape[:2], whitening.shape[1])
    # One product for each ring, so nothing is computed twice.
    for ring, middle, matrix in zip(by_ring(height, width, len(mean), config.ring_cells), mean, whitening, strict=True):
        at = ring.to(features.device)
        white[:, at] = (fibres[:, at] - middle) @ matrix.T
    return white.view(-1, height, width, white.shape[-1]).permute(0, 3, 1, 2)


def beside_their_surroundings(white: Tensor, config: RadarConfig) -> Tensor:
    """(N, K, h, w) → (N, 2K, h, w): each fibre, and the mean of those around it less the fibre itself. Grain differs
    from one cell to the next, damage less so."""
    return torch.cat([white, box_mean(white, config.around_cells) - white], dim=1)
