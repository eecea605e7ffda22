"""Which pictures show the same part.

Six exposures of one part, or its four sides, are one draw of production and not six: what holds for one of them holds
for all. Whoever counts each as a part of its own is too sure of every figure.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_MOMENT = re.compile(r"(?<!\d)((?:19|20)\d\d)[-_.]?(\d\d)[-_.]?(\d\d)[-_. T]*(\d\d)[-_.:h]?(\d\d)[-_.:m]?(\d\d)")
"""Date and time as cameras name files: 20261129_101533, 2026-11-29T10-15-33.123 …"""


def number_of(path: Path) -> int:
    """What orders files as they were made: the seconds of the date and time in the name; where there is none, the last
    number in it, 0 where there is none. Of 10-15-33 the last number alone would put all minutes in a heap."""
    for digits in _MOMENT.findall(path.stem):
        try:
            return int(datetime.strptime("".join(digits), "%Y%m%d%H%M%S").replace(tzinfo=UTC).timestamp())
        except ValueError:  # no such day or hour
            continue
    return int((re.findall(r"\d+", path.stem) or ["0"])[-1])


def order_of_production(paths: Sequence[Path]) -> list[int]:
    """Places of the pictures, folder by folder, by number (`number_of`)."""
    return sorted(range(len(paths)), key=lambda place: (paths[place].parent, number_of(paths[place])))


def parts_of(paths: Sequence[Path], reach: int | None) -> NDArray[np.int64]:
    """(N,): the part that each picture shows, numbered from 0.

    Pictures of one folder are of one part as long as each one's number (`number_of`) lies at most `reach` above that
    of the picture before; 0 takes equal numbers alone, None every picture for a part of its own.
    """
    if reach is None:
        return np.arange(len(paths))
    order = order_of_production(paths)
    ordered = [paths[place] for place in order]
    begins = [True] * min(1, len(order)) + [
        after.parent != before.parent or number_of(after) - number_of(before) > reach
        for before, after in pairwise(ordered)
    ]
    parts = np.empty(len(order), dtype=np.int64)
    parts[order] = np.cumsum(begins) - 1
    return parts


def highest_of_parts(values: NDArray[np.float64], parts: NDArray[np.int64]) -> NDArray[np.float64]:
    """(N,) values and the part of each → (P,): the highest of each part."""
    highest = np.full(len(np.unique(parts)), -np.inf)
    np.maximum.at(highest, parts, values)
    return highest
