"""Where a fibre is, as the flow is told: sines and cosines of column and row (arXiv 2107.12571, section 4.2)."""

import math
from typing import Literal

import torch
from torch import Tensor

_CELLS = 32.0
"""A relative position of 1 counts as so many cells: the grid of a 256 px frame at stride 8, as in the official code."""
_LONGEST = 10_000.0


def places(cells: int, stride_px: int, position: Literal["relative", "absolute"]) -> Tensor:
    """(cells,): where each cell of one axis is. A relative place is the cell's middle as a share of the axis, so
    frames of any size agree on what an edge is; an absolute one counts cells of 8 px from the left or the top."""
    middle = torch.arange(cells, dtype=torch.float32) + 0.5
    return middle * (_CELLS / cells) if position == "relative" else middle * (stride_px / 8)


def encode(place: Tensor, length: int) -> Tensor:
    """(..., ) places → (..., length): sine and cosine in turns, of falling frequencies."""
    rates = torch.exp(torch.arange(0, length, 2, device=place.device) * (-math.log(_LONGEST) / length))
    angles = place[..., None] * rates
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(-2)


def bins(rows: int, columns: int, count: int) -> Tensor:
    """(rows, columns): the number of the bin, of count × count, in which each cell of a grid lies."""
    down, across = (torch.arange(cells) * count // cells for cells in (rows, columns))
    return down[:, None] * count + across[None, :]
