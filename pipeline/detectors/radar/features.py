"""The two numbers that RADAR knows an image by."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.detectors.radar.config import RadarConfig
from pipeline.detectors.rounding import round_significant

GLOBAL = "noise_norm"
LOCAL = "sobel_peak"
NAMES = (GLOBAL, LOCAL)
_TINY = 1e-6
"""Keeps the contrast of a flat map finite."""


def loud_norm(norm: Tensor, fraction: float) -> Tensor:
    """(N, h, w) norm per position → (N,): L2 norm over the loudest share of positions, as a root mean square, so that
    frames of different sizes compare. Over all positions it is the norm of the whole map, in which a thin crack
    drowns."""
    return _highest(norm, fraction).square().mean(dim=1).sqrt()


def peak(sobel: Tensor, fraction: float, over_median: bool) -> Tensor:
    """(N, h, w) → (N,): mean of the highest values, over the median of the map if asked for.

    A mean of several, since one hot pixel moves a maximum but not this.
    """
    highest = _highest(sobel, fraction).mean(dim=1)
    return highest / (sobel.flatten(start_dim=1).median(dim=1).values + _TINY) if over_median else highest


def _highest(maps: Tensor, fraction: float) -> Tensor:
    flat = maps.flatten(start_dim=1)
    return flat.topk(max(1, round(flat.shape[1] * fraction)), dim=1).values


def measure(norm: Tensor, sobel: Tensor, config: RadarConfig) -> NDArray[np.float64]:
    """(N, 2): the features in the order of NAMES, rounded."""
    features = torch.stack(
        [loud_norm(norm, config.norm_fraction), peak(sobel, config.top_fraction, config.over_median)], dim=1
    )
    return round_significant(features.cpu().numpy().astype(np.float64), config.significant_digits)
