"""From the levels' log-likelihoods to one anomaly map and a score per frame."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.detectors.cflow.position import bins


@dataclass(frozen=True)
class Reference:
    """What the log-likelihoods of one level are among normals."""

    highest: Tensor
    """(): of all. The official code takes it over the whole test set, and a batch-wise maximum would let a frame's
    score depend on its neighbours; here it is of calibration normals, and part of the model. NaN in a
    model whose map is by place: nothing there asks for it."""
    mean: Tensor
    """(B · B,): by place."""
    deviation: Tensor
    """(B · B,)"""

    def to(self, device: torch.device) -> "Reference":
        return Reference(self.highest.to(device), self.mean.to(device), self.deviation.to(device))


def shortfall_of_likelihood(levels: Sequence[Tensor], references: Sequence[Reference]) -> Tensor:
    """Per level (N, h, w) log-likelihoods → (N, h, w) on the finest grid: minus the logarithm of
    Σ exp(log p − highest).

    It ranks pixels as the paper's map does. In log space nothing underflows; the paper's exponentials of all very
    unlikely pixels are 0, and tie.
    """
    shifted = [level - reference.highest for level, reference in zip(levels, references, strict=True)]
    return -torch.logsumexp(_stacked(shifted), dim=0)


def shortfall_by_place(levels: Sequence[Tensor], references: Sequence[Reference], place_bins: int) -> Tensor:
    """Per level (N, h, w) log-likelihoods → (N, h, w) on the finest grid: how many deviations of normals at this place
    a fibre is less likely than their mean, on average over levels.

    At the rim of a part normals are unlikely, and vary; without this its rim decides the score of every frame.
    """
    relative = []
    for level, reference in zip(levels, references, strict=True):
        place = bins(level.shape[1], level.shape[2], place_bins).to(level.device)
        relative.append((reference.mean[place] - level) / reference.deviation[place])
    return _stacked(relative).mean(dim=0)


def peak(maps: Tensor, top_fraction: float) -> Tensor:
    """(N, h, w) → (N,): the mean of the highest values; of one value when the fraction is 0 or too small for more."""
    flat = maps.flatten(start_dim=1)
    count = max(1, round(flat.shape[1] * top_fraction))
    return flat.topk(count, dim=1).values.mean(dim=1)


def _stacked(levels: Sequence[Tensor]) -> Tensor:
    height, width = levels[0].shape[1:]
    return torch.stack(
        [
            functional.interpolate(level[:, None], size=(height, width), mode="bilinear", align_corners=False)[:, 0]
            if level.shape[1:] != (height, width)
            else level
            for level in levels
        ]
    )
