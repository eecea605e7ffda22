"""Who is fitted on which normals.

Images with neighbouring names come from the same part, module or minute and look alike. A random split would put twins
on both sides, and every held-out figure would be too good. So the sorted names are cut into contiguous blocks, and a
block goes to one role as a whole. Several rounds of blocks keep every role in touch with the whole of the production.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Generic, TypeVar

from pipeline.training.images.parts import number_of

Item = TypeVar("Item")
Part = TypeVar("Part")
_EDGE_MOVES = 3
"""So many items an edge between blocks may move to lie between two parts."""
_LEAST_A_ROUND = 30
"""In shorter rounds blocks are as short as their edges move: where file names have gaps, whole blocks would go."""


@dataclass(frozen=True)
class Shares:
    """How much of the normals each role gets, in the order in which a round hands out its blocks."""

    fit: float = 0.50
    forest: float = 0.15
    calibration: float = 0.27
    validation: float = 0.08

    def __post_init__(self) -> None:
        shares = vars(self)
        if min(shares.values()) < 0 or abs(sum(shares.values()) - 1) > 1e-9:
            raise ValueError(f"shares must be ≥ 0 and sum to 1, not {shares}")


@dataclass(frozen=True)
class Split(Generic[Part]):
    """No image is in two roles, and every image is in one. Order is kept."""

    fit: Part
    """The network learns what normal looks like."""
    forest: Part
    """The Isolation Forest learns how a normal frame measures that the network did not see."""
    calibration: Part
    """The threshold."""
    validation: Part
    """Hyper-parameters, with synthetic defects. Nothing else may look at test images before the end."""


def split_by_number(paths: Sequence[Path], shares: Shares | None = None) -> Split[tuple[Path, ...]]:
    """`split_contiguous` in the order of the number in each name (`number_of`), with edges at its jumps.

    A part that was photographed several times, under six exposures say, has file numbers close together, even where the
    names begin with the exposure. Its pictures then go to one role.
    """
    ordered = sorted(paths, key=lambda path: (number_of(path), path))
    jumps = [number_of(after) - number_of(before) for before, after in pairwise(ordered)]
    return split_contiguous(ordered, shares, jumps=jumps)


def split_contiguous(
    items: Sequence[Item],
    shares: Shares | None = None,
    rounds: int | None = None,
    jumps: Sequence[float] | None = None,
) -> Split[tuple[Item, ...]]:
    """Cuts sorted items into `rounds` equal stretches and each stretch into one contiguous block per role.

    Many rounds give every role its share of every batch of production; few keep more neighbours in one role. By
    default 12, and fewer where a round would hold less than 30 items.

    jumps: how far item k + 1 is from item k. With them each edge moves to the widest jump within 3 items.

    Raises ValueError when rounds < 1. Few items leave some roles empty; the caller decides if that will do.
    """
    if rounds is None:
        rounds = max(1, min(12, len(items) // _LEAST_A_ROUND))
    if rounds < 1:
        raise ValueError(f"rounds must be at least 1, not {rounds}")
    shares = shares or Shares()
    parts: dict[str, list[Item]] = {role: [] for role in vars(shares)}
    position = 0
    for round_index in range(rounds):
        start, stop = (len(items) * edge // rounds for edge in (round_index, round_index + 1))
        cumulative = 0.0
        for role, share in vars(shares).items():
            cumulative += share
            edge = start + round((stop - start) * cumulative)
            if jumps is not None and edge < len(items):
                edge = _widest_jump(jumps, edge, position)
            parts[role].extend(items[position:edge])
            position = edge
    return Split(**{role: tuple(part) for role, part in parts.items()})


def _widest_jump(jumps: Sequence[float], edge: int, position: int) -> int:
    """Where to cut near `edge`, not before `position`; an edge e lies behind item e − 1, at jump e − 1."""
    near = range(max(position, edge - _EDGE_MOVES, 1), min(edge + _EDGE_MOVES, len(jumps)) + 1)
    return max(near, key=lambda place: (jumps[place - 1], -abs(place - edge)), default=max(edge, position))
