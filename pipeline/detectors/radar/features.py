"""The two numbers that RADAR knows an image by."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

GLOBAL = "noise_norm"
LOCAL = "sobel_contrast"
NAMES = (GLOBAL, LOCAL)
_TINY = 1e-6
"""Keeps the contrast of a flat map finite."""


def global_norm(noise: Tensor) -> Tensor:
    """(N, C, h, w) → (N,): L2 norm per pixel (root mean square), so that frames of different sizes compare."""
    return noise.square().mean(dim=(1, 2, 3)).sqrt()


def top_contrast(sobel: Tensor, fraction: float) -> Tensor:
    """(N, h, w) → (N,): mean of the highest values over the median of the map.

    A mean of several, since one hot pixel moves a maximum but not this. Over the median, since sensor noise and grain
    raise the whole map, and differ from part to part, while a crack stands out of its own frame.
    """
    flat = sobel.flatten(start_dim=1)
    count = max(1, round(flat.shape[1] * fraction))
    return flat.topk(count, dim=1).values.mean(dim=1) / (flat.median(dim=1).values + _TINY)


def round_significant(values: NDArray[np.float64], digits: int) -> NDArray[np.float64]:
    """Rounds each value to so many significant digits; 0 stays 0."""
    with np.errstate(divide="ignore"):
        exponent = np.where(values == 0, 0, np.floor(np.log10(np.abs(values))))
    step = 10.0 ** (exponent - digits + 1)
    rounded: NDArray[np.float64] = np.round(values / step) * step
    return rounded


def measure(noise: Tensor, sobel: Tensor, top_fraction: float, digits: int) -> NDArray[np.float64]:
    """(N, 2): the features in the order of NAMES, rounded."""
    features = torch.stack([global_norm(noise), top_contrast(sobel, top_fraction)], dim=1)
    return round_significant(features.cpu().numpy().astype(np.float64), digits)
