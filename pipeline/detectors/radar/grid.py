"""The levels of an encoder, joined on one grid: what RADAR diffuses in the feature space."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional


def joined(levels: Sequence[Tensor], height: int, width: int) -> Tensor:
    """Maps (N, C_i, h_i, w_i) → (N, ΣC_i, height, width), each averaged over 3 × 3 of its own cells first, so that a
    fibre knows its surroundings (as in PatchCore, arXiv 2106.08265, eq. 3)."""
    near = [functional.avg_pool2d(level, 3, stride=1, padding=1, count_include_pad=False) for level in levels]
    return torch.cat([functional.interpolate(level, size=[height, width], mode="bilinear") for level in near], dim=1)
