"""What float noise between machines, kernels and batch sizes may change, and what it must not."""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

_ROUNDING = 1e-4


def round_significant(values: NDArray[np.float64], digits: int) -> NDArray[np.float64]:
    """Rounds each value to so many significant digits; 0 stays 0."""
    with np.errstate(divide="ignore"):
        exponent = np.where(values == 0, 0, np.floor(np.log10(np.abs(values))))
    step = 10.0 ** (exponent - digits + 1)
    rounded: NDArray[np.float64] = np.round(values / step) * step
    return rounded


def same_to_rounding(left: Tensor, right: Tensor) -> bool:
    """Of one shape: whether they differ nowhere by more than 0.01 % of the largest value."""
    return bool((left - right).abs().max() <= _ROUNDING * (left.abs().max() + _ROUNDING))
