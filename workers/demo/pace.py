"""How fast the cameras send: what this machine can judge. With more, a demo would show how long frames can wait."""

import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

MOST_FPS = 1.6
"""Of one camera. More is nothing that a person can follow."""
_LEAST_FPS = 0.1
_OF_ONE_BY_ONE = 1.1
"""Of the frames a second that are scored one by one. In batches 1.3 times as many are, though the rest of the plant is
on the same two cores (7.1 for 5.5, 9.3 for 6.9), so this is some 85 % of what the machine can judge."""


def frames_per_s(
    score_one: Callable[[str, bytes], None], cells: Mapping[str, Sequence[Path]], for_s: float = 2.0
) -> float:
    """How many are scored one after the other, those of each recipe in turn. cells: by recipe."""
    begun_s = time.monotonic()
    for scored, (recipe, cell) in enumerate(_in_turn(cells), start=1):
        score_one(recipe, cell.read_bytes())
        if (elapsed_s := time.monotonic() - begun_s) >= for_s:
            return scored / elapsed_s
    raise ValueError("there are no cells")


def _in_turn(cells: Mapping[str, Sequence[Path]]) -> Iterator[tuple[str, Path]]:
    """Without an end."""
    of_each = [zip(itertools.repeat(recipe), itertools.cycle(paths)) for recipe, paths in cells.items()]
    return itertools.chain.from_iterable(zip(*of_each, strict=True))


def affordable_fps(judged_per_s: float, cameras: int) -> float:
    """Of each camera."""
    return min(MOST_FPS, max(_LEAST_FPS, round(_OF_ONE_BY_ONE * judged_per_s / cameras, 2)))
