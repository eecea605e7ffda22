"""Zero mean and about unit covariance over normals, for each ring from the border inwards."""

from collections.abc import Sequence

import torch
from torch import Tensor

from pipeline.detectors.radar.border import rings

_FLOOR = 0.1
"""Added to the variances before whitening, relative to those of standardised channels: directions in which normals
hardly vary hold the encoder's rounding noise, and would be blown up without it."""
_TINY = 1e-4
_LEAST_POOLED, _MOST_POOLED = 0.1, 0.9
_FIBRES_PER_DEGREE = 18
"""A ring's own covariance is trusted once it has many times this number of fibres for each of its channels.
Neighbouring fibres repeat each other, hence so many."""


def fit_whitening(features: Sequence[Tensor], ring_count: int, ring_cells: int) -> tuple[Tensor, Tensor]:
    """(C, h, w) maps of normals → mean (rings, C) and whitening (rings, C, C). A ring with few fibres leans on the
    covariance within all rings."""
    channels = len(features[0])
    counts = torch.zeros(ring_count, dtype=torch.float64)
    sums = torch.zeros(ring_count, channels, dtype=torch.float64)
    products = torch.zeros(ring_count, channels, channels, dtype=torch.float64)
    for one in features:
        ring = rings(*one.shape[1:], ring_count, ring_cells).flatten()
        fibres = one.flatten(start_dim=1).T.double()
        for index in torch.unique(ring).tolist():
            own = fibres[ring == index]
            counts[index] += len(own)
            sums[index] += own.sum(dim=0)
            products[index] += own.T @ own
    seen = counts > 0
    held = counts.clamp(min=1)
    mean = sums / held[:, None]
    covariance = products / held[:, None, None] - mean[:, :, None] * mean[:, None, :]
    within = (covariance * counts[:, None, None]).sum(dim=0) / counts.sum()
    pooled = (_FIBRES_PER_DEGREE * channels / held).clamp(_LEAST_POOLED, _MOST_POOLED)[:, None, None]
    covariance = torch.where(seen[:, None, None], (1 - pooled) * covariance + pooled * within, within)
    # Frames so small that they have no such inside leave it the mean of what they have.
    mean = torch.where(seen[:, None], mean, sums.sum(dim=0) / counts.sum())
    return mean.float(), torch.stack([_whitening_of(one) for one in covariance])


def _whitening_of(covariance: Tensor) -> Tensor:
    """Symmetric (ZCA): a channel stays near itself."""
    deviation = covariance.diag().clamp(min=_TINY**2).sqrt()
    variances, directions = torch.linalg.eigh(covariance / torch.outer(deviation, deviation))
    whitening: Tensor = directions / (variances.clamp(min=0) + _FLOOR).sqrt() @ directions.T / deviation
    return whitening.float()


def whiten(features: Tensor, mean: Tensor, whitening: Tensor, ring_cells: int) -> Tensor:
    """(N, C, h, w) → the same shape: each fibre by the statistics of its ring."""
    height, width = features.shape[-2:]
    ring = rings(height, width, len(mean), ring_cells).flatten().to(features.device)
    fibres = features.flatten(start_dim=2)
    white = whitening[-1] @ (fibres - mean[-1][:, None])
    for index in range(len(mean) - 1):
        at = (ring == index).nonzero()[:, 0]
        white[:, :, at] = whitening[index] @ (fibres[:, :, at] - mean[index][:, None])
    return white.view_as(features)
