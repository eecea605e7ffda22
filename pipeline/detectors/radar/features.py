"""The two numbers that RADAR knows an image by."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.detectors.radar.config import RadarConfig

GLOBAL = "noise_norm"
LOCAL = "sobel_peak"
NAMES = (GLOBAL, LOCAL)
_TINY = 1e-6
"""Keeps the contrast of a flat map finite."""


def global_norm(noise: Tensor) -> Tensor:
    """(N, C, h, w) → (N,): L2 norm per pixel (root mean square), so that frames of different sizes compare."""
    return noise.square().mean(dim=(1, 2, 3)).sqrt()


def peak(sobel: Tensor, fraction: float, over_median: bool) -> Tensor:
    """(N, h, w) → (N,): mean of the highest values, over the median of the map if asked for.

    A mean of several, since one hot pixel moves a maximum but not this. Over the median for pixels, where sensor noise
    and grain raise the whole map, and differ from part to part, while a crack stands out of its own frame.
    """
    flat = sobel.flatten(start_dim=1)
    count = max(1, round(flat.shape[1] * fraction))
    highest = flat.topk(count, dim=1).values.mean(dim=1)
    return highest / (flat.median(dim=1).values + _TINY) if over_median else highest


def round_significant(values: NDArray[np.float64], digits: int) -> NDArray[np.float64]:
    """Rounds each value to so many significant digits; 0 stays 0."""
    with np.errstate(divide="ignore"):
        exponent = np.where(values == 0, 0, np.floor(np.log10(np.abs(values))))
    step = 10.0 ** (exponent - digits + 1)
    rounded: NDArray[np.float64] = np.round(values / step) * step
    return rounded


def measure(noise: Tensor, sobel: Tensor, config: RadarConfig) -> NDArray[np.float64]:
    """(N, 2): the features in the order of NAMES, rounded."""
    features = torch.stack([global_norm(noise), peak(sobel, config.top_fraction, config.over_median)], dim=1)
    return round_significant(features.cpu().numpy().astype(np.float64), config.significant_digits)
