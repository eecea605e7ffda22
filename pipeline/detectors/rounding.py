"""Rounding that keeps float noise between machines and batch sizes out of scores."""

import numpy as np
from numpy.typing import NDArray


def round_significant(values: NDArray[np.float64], digits: int) -> NDArray[np.float64]:
    """Rounds each value to so many significant digits; 0 stays 0."""
    with np.errstate(divide="ignore"):
        exponent = np.where(values == 0, 0, np.floor(np.log10(np.abs(values))))
    step = 10.0 ** (exponent - digits + 1)
    rounded: NDArray[np.float64] = np.round(values / step) * step
    return rounded
