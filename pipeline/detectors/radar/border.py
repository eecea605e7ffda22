"""Where a position lies relative to the border of the frame.

What is normal at a border (the part's own edge, the background, what an encoder makes of a frame that ends) is not what
is normal inside. A detector that treats all positions alike finds its highest values there in every good frame. All
that is known here is distance to the border, so any frame size will do.
"""

from functools import lru_cache

import torch
from torch import Tensor

_SIZES_KEPT = 32


def _from_ends(length: int) -> Tensor:
    steps = torch.arange(length)
    return torch.minimum(steps, length - 1 - steps)


@lru_cache(maxsize=_SIZES_KEPT)
def rings(height: int, width: int, count: int, ring_cells: int = 1) -> Tensor:
    """(height, width): 0 in the ring at the border, up to count − 1 everywhere further inside."""
    nearest = torch.minimum(_from_ends(height)[:, None], _from_ends(width)[None, :])
    return (nearest // ring_cells).clamp(max=count - 1)


@lru_cache(maxsize=_SIZES_KEPT)
def by_ring(height: int, width: int, count: int, ring_cells: int = 1) -> tuple[Tensor, ...]:
    """Of each of `rings`, from the border inwards: its positions, counted row by row."""
    ring = rings(height, width, count, ring_cells).flatten()
    return tuple((ring == one).nonzero()[:, 0] for one in range(count))


@lru_cache(maxsize=_SIZES_KEPT)
def places(height: int, width: int, count: int, ring_cells: int = 1) -> Tensor:
    """(height, width), in 0 … count² − 1: the rings counted for rows and for columns apart. A corner is a place of its
    own, and so are the edges above and beside."""
    rows, columns = ((_from_ends(side) // ring_cells).clamp(max=count - 1) for side in (height, width))
    return rows[:, None] * count + columns[None, :]


@lru_cache(maxsize=_SIZES_KEPT)
def closeness(height: int, width: int, ring_cells: int = 1) -> Tensor:
    """(4, height, width): how close the top, bottom, left and right border are; 1 at the border, fading over two
    rings. The noise predictor is told these."""
    down, across = torch.arange(height).float()[:, None], torch.arange(width).float()[None, :]
    distances = (down, height - 1 - down, across, width - 1 - across)
    return torch.stack([torch.exp(-d / (2 * ring_cells)).expand(height, width) for d in distances])
