"""RADAR's whitening, fitted on normals: ring by ring, and once more by their loudest fibres."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.detectors.radar.border import rings
from pipeline.detectors.radar.config import RadarConfig
from pipeline.detectors.radar.projection import whiten
from pipeline.training.track import Track, untracked

_FLOOR = 0.1
"""Added to the variances before whitening, relative to those of standardised channels: directions in which normals
hardly vary hold the encoder's rounding noise, and would be blown up without it."""
_TINY = 1e-4
_MOST = 6e4
"""What half precision, in which a bundle keeps the whitening, can hold."""
_LEAST_POOLED, _MOST_POOLED = 0.1, 0.9
_FIBRES_PER_DEGREE = 18
"""A ring's own covariance is trusted once it has many times this number of fibres for each of its channels.
Neighbouring fibres repeat each other, hence so many."""


def fit_whitening(features: Sequence[Tensor], config: RadarConfig, track: Track = untracked) -> tuple[Tensor, Tensor]:
    """(C, h, w) maps of normals → mean (rings, C) and whitening (rings, C, C).

    With `loud_share` the whitened fibres are whitened once more, by the covariance of the loudest of them alone. Those
    are the marks that good parts carry. In the directions in which marks differ from the rest a frame then has to go
    further to stand out; where normals never go, a defect stands out sooner.
    """
    channels = len(features[0])
    at = [rings(*one.shape[1:], config.rings, config.ring_cells).flatten() for one in features]
    numbers = track(range(len(features)), "whitening")
    found = _moments(((fibres_of(features[number]), at[number]) for number in numbers), config.rings, channels)
    mean = found.mean
    whitening = torch.stack([whitening_of(one) for one in found.covariance(_FIBRES_PER_DEGREE * channels)])
    if not config.loud_share:
        return mean.float(), whitening

    def white(number: int) -> Tensor:
        return whiten(features[number].float()[None], mean.float(), whitening, config)[0]

    # Whitened twice in place of kept: all at once they would take more memory than the features themselves.
    numbers = track(range(len(features)), "looking for the loudest")
    loudness = [white(number).square().sum(dim=0).flatten() for number in numbers]
    least = _loudness_of_the_loudest(loudness, at, config)
    numbers = track(range(len(features)), "whitening by the loudest")
    loud = _moments(
        (
            (fibres_of(white(number))[is_loud], at[number][is_loud])
            for number in numbers
            for is_loud in [loudness[number] >= least[at[number]]]
        ),
        config.rings,
        channels,
    )
    again = torch.stack([_rewhitening_of(one) for one in loud.about_zero()])
    return mean.float(), (again @ whitening).clamp(-_MOST, _MOST)


@dataclass(frozen=True)
class _Moments:
    """Of fibres, ring by ring, in double precision."""

    counts: Tensor
    """(rings,)"""
    sums: Tensor
    """(rings, C)"""
    products: Tensor
    """(rings, C, C)"""

    @property
    def mean(self) -> Tensor:
        """(rings, C). Frames so small that they have no such inside leave it the mean of what they have."""
        own = self.sums / self._held[:, None]
        return torch.where(self._seen[:, None], own, self.sums.sum(dim=0) / self.counts.sum())

    def covariance(self, enough: float) -> Tensor:
        """(rings, C, C). A ring with fewer fibres than `enough` leans on the covariance within all rings."""
        mean = self.sums / self._held[:, None]
        own = self.products / self._held[:, None, None] - mean[:, :, None] * mean[:, None, :]
        within = (own * self.counts[:, None, None]).sum(dim=0) / self.counts.sum()
        pooled = (enough / self._held).clamp(_LEAST_POOLED, _MOST_POOLED)[:, None, None]
        return torch.where(self._seen[:, None, None], (1 - pooled) * own + pooled * within, within)

    def about_zero(self) -> Tensor:
        """(rings, C, C): second moments, each ring's own and those of all in equal parts, since loud fibres are few."""
        own = self.products / self._held[:, None, None]
        whole = self.products.sum(dim=0) / self.counts.sum()
        return torch.where(self._seen[:, None, None], (own + whole) / 2, whole)

    @property
    def _held(self) -> Tensor:
        return self.counts.clamp(min=1)

    @property
    def _seen(self) -> Tensor:
        return self.counts > 0


def _moments(parts: Iterable[tuple[Tensor, Tensor]], count: int, channels: int) -> _Moments:
    """parts: fibres (F, C) and the ring (F,) of each, image by image."""
    counts = torch.zeros(count, dtype=torch.float64)
    sums = torch.zeros(count, channels, dtype=torch.float64)
    products = torch.zeros(count, channels, channels, dtype=torch.float64)
    for fibres, ring in parts:
        for index in torch.unique(ring).tolist():
            own = fibres[ring == index].double()  # not all of them twice
            counts[index] += len(own)
            sums[index] += own.sum(dim=0)
            products[index] += own.T @ own
    return _Moments(counts, sums, products)


def fibres_of(one: Tensor) -> Tensor:
    """(C, h, w) → (h · w, C)."""
    return one.flatten(start_dim=1).T


def _loudness_of_the_loudest(loudness: Sequence[Tensor], at: Sequence[Tensor], config: RadarConfig) -> Tensor:
    """Squared norms of each image's fibres, and their rings → (rings,): what the loudest `loud_share` of each ring's
    fibres have at least."""
    whole, ring = torch.cat(list(loudness)), torch.cat(list(at))
    least = torch.zeros(config.rings)
    for index in torch.unique(ring).tolist():
        own = whole[ring == index]
        least[index] = own.topk(max(1, round(len(own) * config.loud_share))).values[-1]
    return least


def _rewhitening_of(moments: Tensor) -> Tensor:
    """Symmetric, for second moments (C, C) that are brought to a mean variance of 1 first."""
    size = moments.diagonal().mean()
    if size <= 0:  # normals that are all alike have no loud fibres
        return torch.eye(len(moments))
    variances, directions = torch.linalg.eigh(moments / size)
    again: Tensor = directions / (variances.clamp(min=0) + _FLOOR).sqrt() @ directions.T
    return again.float()


def whitening_of(covariance: Tensor) -> Tensor:
    """Symmetric (ZCA): a channel stays near itself."""
    deviation = covariance.diag().clamp(min=_TINY**2).sqrt()
    variances, directions = torch.linalg.eigh(covariance / torch.outer(deviation, deviation))
    whitening: Tensor = directions / (variances.clamp(min=0) + _FLOOR).sqrt() @ directions.T / deviation
    return whitening.float()
