"""Whether parts are as independent as a promise of false stops takes them to be.

Where a part scores like the one before it, N of them show less than N do, and the promise fails more often than it
says: of 400 pictures, ten of each part and nearly alike, a third of the promises at 95 % did not hold.
"""

import math

import numpy as np
from numpy.typing import NDArray

_LEAST = 0.2
"""Below that promises held nearly as often as they say."""
_BY_CHANCE = 3.3
"""So many deviations, 1 / √N each, are reached by one set in 2,000 whose parts are independent."""


def likeness_of_neighbours(scores: NDArray[np.float64]) -> float | None:
    """scores (N,) in the order of production → the rank correlation between each and the next, where it is more than
    chance and enough to matter; else None."""
    from scipy.stats import rankdata

    if len(scores) < 3 or not np.ptp(scores):
        return None
    ranks = rankdata(scores) - (len(scores) + 1) / 2
    likeness = float((ranks[1:] * ranks[:-1]).sum() / np.square(ranks).sum())
    return likeness if likeness > max(_LEAST, _BY_CHANCE / math.sqrt(len(scores))) else None
