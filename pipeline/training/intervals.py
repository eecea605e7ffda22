"""Bootstrap over images: how far a figure would move with another draw of test images."""

import numpy as np
from numpy.typing import NDArray


def resampled(is_defect: NDArray[np.bool_], draws: int, seed: int) -> NDArray[np.float64]:
    """(N,) → (draws, N): how often each image is in each draw. Good and defective ones are drawn apart, so that every
    draw has as many of each as there are."""
    random = np.random.default_rng(seed)
    weights = np.zeros((draws, len(is_defect)))
    for group in (np.flatnonzero(is_defect), np.flatnonzero(~is_defect)):
        if len(group):
            weights[:, group] = random.multinomial(len(group), np.full(len(group), 1 / len(group)), size=draws)
    return weights


def interval(found: NDArray[np.float64]) -> tuple[float, float]:
    """(draws,) → the 2.5 % and the 97.5 % quantile."""
    low, high = np.quantile(found, [0.025, 0.975])
    return float(low), float(high)
