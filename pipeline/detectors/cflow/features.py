"""From frames to fibres: a frozen encoder's levels, averaged over their neighbours and whitened on normals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from pipeline.detectors.cflow.config import CflowConfig
from pipeline.detectors.encoder import Encoder
from pipeline.detectors.images import to_images

_DARK = 4.0
"""Gray levels added to the local mean before dividing, so that black regions do not blow sensor noise up."""
_MIDDLE = 100.0
"""The gray level that the local mean is brought to."""
_BRIGHTEST = 400.0
_COARSE_PX = 8
_FLOOR = 0.01
"""Added to the variances before whitening, relative to those of standardised channels: directions in which normals
hardly vary hold the encoder's rounding noise, and would be blown up without it."""
_TINY = 1e-4


@dataclass(frozen=True)
class Whitening:
    """Gives the fibres of normals zero mean and about unit covariance. The flow starts as the identity, so before its
    first step it is a Gaussian already."""

    mean: Tensor
    """(C,)"""
    matrix: Tensor
    """(C, K): a whitened fibre is (fibre − mean) @ matrix."""

    def __call__(self, fibres: Tensor) -> Tensor:
        return (fibres - self.mean) @ self.matrix

    def to(self, device: torch.device) -> "Whitening":
        return Whitening(self.mean.to(device), self.matrix.to(device))


def fit_whitening(fibres: Tensor, most: int) -> Whitening:
    """fibres (F, C) of normals. Of more than `most` directions those in which normals vary most are kept."""
    mean = fibres.mean(dim=0)
    deviation = (fibres - mean).square().mean(dim=0).sqrt().clamp(min=_TINY)
    standard = (fibres - mean) / deviation
    variances, directions = torch.linalg.eigh((standard.T @ standard / len(fibres)).double())
    matrix = (directions / (variances.clamp(min=0) + _FLOOR).sqrt()).float() / deviation[:, None]
    return Whitening(mean, matrix[:, -most:].contiguous())  # variances rise


def light(batch: NDArray[np.uint8], image_channels: int, contrast_px: int, device: torch.device) -> Tensor:
    """(N, H, W[, 3]) → (N, 3, H, W) in the encoder's range: 0 is mid-gray. With `contrast_px` gray levels are taken
    relative to the local mean, lest the exposure of a frame look like a defect."""
    images = to_images(batch, image_channels, device)
    if contrast_px:
        images = (images / (_local_mean(images, contrast_px) + _DARK) * _MIDDLE).clamp(max=_BRIGHTEST)
    return (images / 127.5 - 1.0).expand(-1, 3, -1, -1)


def level_maps(encoder: Encoder, images: Tensor, neighbourhood: int) -> list[Tensor]:
    """(N, 3, H, W) → per level (N, h, w, C)."""
    levels: Sequence[Tensor] = encoder(images)
    if neighbourhood > 1:
        reach = neighbourhood // 2
        levels = [
            functional.avg_pool2d(level, neighbourhood, stride=1, padding=reach, count_include_pad=False)
            for level in levels
        ]
    return [level.permute(0, 2, 3, 1) for level in levels]


def fibres_of(encoder: Encoder, frames: NDArray[np.uint8], mode: str, config: CflowConfig) -> list[Tensor]:
    """What the flows are taught on and asked about, before whitening: (N, H, W[, 3]) → per level (N, h, w, C)."""
    device = next(encoder.parameters()).device
    images = light(frames, 3 if mode == "rgb" else 1, config.contrast_px, device)
    return level_maps(encoder, images, config.neighbourhood)


def whitening_tensors(level: int, whitening: Whitening) -> dict[str, NDArray[Any]]:
    """For the bundle, in full precision: a matrix of inverse deviations may exceed half precision's range."""
    return {
        f"whitening.{level}.mean": whitening.mean.cpu().numpy(),
        f"whitening.{level}.matrix": whitening.matrix.cpu().numpy(),
    }


def whitening_from_tensors(level: int, tensors: Mapping[str, NDArray[Any]]) -> Whitening:
    """Raises KeyError when a tensor is missing."""
    mean, matrix = (torch.from_numpy(tensors[f"whitening.{level}.{part}"]) for part in ("mean", "matrix"))
    return Whitening(mean, matrix)


def _local_mean(images: Tensor, window_px: int) -> Tensor:
    """(N, C, H, W) → the same: the mean over about `window_px`, at the border over what lies inside. Averaged on a
    coarse grid and drawn out again: exact windows around every pixel take longer than the encoder's first layers."""
    coarse = functional.avg_pool2d(images, _COARSE_PX, ceil_mode=True, count_include_pad=False)
    reach = max(1, round((window_px / _COARSE_PX - 1) / 2))
    mean = functional.avg_pool2d(coarse, 2 * reach + 1, stride=1, padding=reach, count_include_pad=False)
    return functional.interpolate(mean, size=images.shape[-2:], mode="bilinear", align_corners=False)
