"""Which pictures show the same part.

Six exposures of one part, or its four sides, are one draw of production and not six: what holds for one of them holds
for all. Whoever counts each as a part of its own is too sure of every figure.
"""

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def last_number(path: Path) -> int:
    """The last number in a file's name, 0 where there is none."""
    return int((re.findall(r"\d+", path.stem) or ["0"])[-1])


def order_of_production(paths: Sequence[Path]) -> list[int]:
    """Places of the pictures, folder by folder, by number (`last_number`)."""
    return sorted(range(len(paths)), key=lambda place: (paths[place].parent, last_number(paths[place])))


def parts_of(paths: Sequence[Path], reach: int | None) -> NDArray[np.int64]:
    """(N,): the part that each picture shows, numbered from 0.

    Pictures of one folder are of one part as long as each one's number (`last_number`) lies at most `reach` above that
    of the picture before; 0 takes equal numbers alone, None every picture for a part of its own.
    """
    if reach is None:
        return np.arange(len(paths))
    order = order_of_production(paths)
    ordered = [paths[place] for place in order]
    begins = [True] * min(1, len(order)) + [
        after.parent != before.parent or last_number(after) - last_number(before) > reach
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
