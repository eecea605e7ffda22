"""How many images a training asks for, when those that are there do not do."""

import math
from collections.abc import Sequence
from itertools import cycle, islice, pairwise
from pathlib import Path

from pipeline.training.images.parts import number_of
from pipeline.training.images.split import Shares, split_contiguous

_SPARE = 0.2
"""So many more than were asked for must do, too: the shares sway with the number of images."""


def images_for(calibration: int, shares: Shares, like: Sequence[Path] = ()) -> int:
    """More images than there are, so many that a split leaves `calibration` of them, or more, for the threshold.

    like: those that are there. Images to come are taken to be numbered as they are, since edges between blocks move to
    jumps of the number; none for numbers without jumps. What a split leaves is found by splitting: it is seldom the
    share itself. Raises ValueError when the threshold has no share.
    """
    if not shares.calibration:
        raise ValueError("no number of images leaves any for a threshold without a share")
    numbers = sorted(map(number_of, like))
    jumps = [after - before for before, after in pairwise(numbers)] or [1]
    jumps.append(max(jumps))  # between what is there and what is to come
    asked = count = max(len(like) + 1, math.ceil(calibration / shares.calibration))
    while count < asked * (1 + _SPARE):
        left = split_contiguous(range(count), shares, jumps=list(islice(cycle(jumps), count - 1))).calibration
        count += 1
        if len(left) < calibration:
            asked = count
    return asked
