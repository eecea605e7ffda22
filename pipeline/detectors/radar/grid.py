"""The levels of an encoder, joined on one grid: what RADAR diffuses in the feature space."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional


def joined(levels: Sequence[Tensor], strides: Sequence[int], cell_px: int, height: int, width: int) -> Tensor:
    """Maps (N, C_i, h_i, w_i) at these strides → (N, ΣC_i, height, width) at `cell_px` frame pixels a cell.

    All but the coarsest level are averaged over 3 × 3 of their own cells first, so that a fibre knows its surroundings
    (as in PatchCore, arXiv 2106.08265, eq. 3). The coarsest knows its own, and a small hole would drown in more.
    Strides differ from `cell_px` by powers of two, so every level is brought over exactly, whatever the frame's size.
    """
    brought = []
    for level, stride in zip(levels, strides, strict=True):
        if stride < max(strides):
            level = functional.avg_pool2d(level, 3, stride=1, padding=1, count_include_pad=False)
        if stride < cell_px:
            level = functional.avg_pool2d(level, cell_px // stride, ceil_mode=True)
        elif stride > cell_px:
            level = functional.interpolate(level, scale_factor=stride // cell_px, mode="bilinear")
        brought.append(level)
    return torch.cat([level[..., :height, :width] for level in brought], dim=1)
