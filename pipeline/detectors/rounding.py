"""What float noise between machines, kernels and batch sizes may change, and what it must not."""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

_ROUNDING = 1e-4


def round_significant(values: NDArray[np.float64], digits: int) -> NDArray[np.float64]:
    """Each value as it reads with so many significant digits: 28.368, not 28.368000000000002 as steps added up give."""
    return np.array([float(f"{value:.{digits - 1}e}") for value in values.flat], np.float64).reshape(values.shape)


def same_to_rounding(left: Tensor, right: Tensor) -> bool:
    """Of one shape: whether they differ nowhere by more than 0.01 % of the largest value."""
    return bool((left - right).abs().max() <= _ROUNDING * (left.abs().max() + _ROUNDING))
