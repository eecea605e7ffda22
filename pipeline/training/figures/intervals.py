"""Bootstrap over parts: how far a figure would move with another draw of them."""

import numpy as np
from numpy.typing import NDArray

_TAILS = (0.025, 0.975)
_TINY = 1e-9


def resampled(is_defect: NDArray[np.bool_], draws: int, parts: NDArray[np.int64] | None = None) -> NDArray[np.float64]:
    """(N,) → (draws, N): how often each image is in each draw. Good and defective ones are drawn apart, so that every
    draw has as many of each as there are.

    parts (N,): which part each image shows (`parts_of`); parts are then drawn, each with all its images. Without it
    every image is a part of its own."""
    random = np.random.default_rng(0)
    weights = np.zeros((draws, len(is_defect)))
    parts = np.arange(len(is_defect)) if parts is None else parts
    for group in (np.flatnonzero(is_defect), np.flatnonzero(~is_defect)):
        if len(group):
            own, of_image = np.unique(parts[group], return_inverse=True)
            drawn = random.multinomial(len(own), np.full(len(own), 1 / len(own)), size=draws)
            weights[:, group] = drawn[:, of_image]
    return weights


def interval(found: NDArray[np.float64], parts: int | None = None) -> tuple[float, float]:
    """(draws,) → the 2.5 % and the 97.5 % quantile.

    parts: so many the figure is of. Draws of three defects that were all found know nothing of one that is missed, and
    agree on 1 (or on 0). Then the interval is Clopper and Pearson's of all, or none, of so many."""
    low, high = (float(end) for end in np.quantile(found, _TAILS))
    if parts is not None and high - low < _TINY:
        least = _TAILS[0] ** (1 / parts)
        if low > 1 - _TINY:
            return least, 1.0
        if high < _TINY:
            return 0.0, 1 - least
    return low, high
