"""What RADAR diffuses: pixels, as in the paper, or the feature maps of a frozen encoder."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from pipeline.detectors.encoder import Encoder, encoder_from_tensors, encoder_tensors
from pipeline.detectors.images import to_images
from pipeline.detectors.radar.border import rings
from pipeline.detectors.radar.config import STRIDE_PX, RadarConfig
from pipeline.detectors.radar.grid import joined
from pipeline.detectors.radar.preprocess import even_exposure, normalise

_ENCODER = "encoder."
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


class Front(Protocol):
    """Frames → what the noise predictor works on, at about unit variance over normals."""

    @property
    def channels(self) -> int: ...

    def __call__(self, frames: NDArray[np.uint8], device: torch.device) -> Tensor:
        """(N, H, W[, 3]) → (N, channels, h, w)."""
        ...

    def tensors(self) -> dict[str, NDArray[Any]]:
        """For the bundle."""
        ...


@dataclass(frozen=True)
class PixelFront:
    config: RadarConfig
    channels: int
    """1 for gray, 3 for RGB."""

    def __call__(self, frames: NDArray[np.uint8], device: torch.device) -> Tensor:
        return normalise(to_images(frames, self.channels).to(device), self.config)

    def tensors(self) -> dict[str, NDArray[Any]]:
        return {}


@dataclass(frozen=True)
class FeatureFront:
    encoder: Encoder
    config: RadarConfig
    image_channels: int
    """1 for gray, 3 for RGB: what the frames are brought to before the encoder, which always takes three."""
    mean: Tensor
    """(rings, C): of the fitted normals' fibres in each ring from the border inwards."""
    whitening: Tensor
    """(rings, C, C): gives those fibres about unit covariance, so that one step of white noise means the same in every
    direction. Unwhitened, the few directions of high variance would drown the ones in which defects differ."""

    @property
    def channels(self) -> int:
        return len(self.config.shrinks) * sum(self.encoder.channels)

    @torch.no_grad()
    def __call__(self, frames: NDArray[np.uint8], device: torch.device) -> Tensor:
        features = raw_features(self.encoder.to(device), frames, self.image_channels, self.config, device)
        return whiten(features, self.mean.to(device), self.whitening.to(device), self.config)

    def tensors(self) -> dict[str, NDArray[Any]]:
        own = {"front.mean": self.mean.numpy(), "front.whitening": self.whitening.half().numpy()}
        return own | {_ENCODER + name: value for name, value in encoder_tensors(self.encoder).items()}


@torch.no_grad()  # not inference_mode: training goes on with what comes out
def raw_features(
    encoder: Encoder, frames: NDArray[np.uint8], image_channels: int, config: RadarConfig, device: torch.device
) -> Tensor:
    """(N, H, W[, 3]) → (N, C, ceil(H / 8), ceil(W / 8)), one frame at a time: a batch of large frames would fill the
    memory."""
    return torch.cat([_encoded(encoder, frame[None], image_channels, config, device) for frame in frames])


def _encoded(
    encoder: Encoder, frame: NDArray[np.uint8], image_channels: int, config: RadarConfig, device: torch.device
) -> Tensor:
    """Frames are mirrored outwards by one cell of the coarsest level, since encoders fill up with zeros, which are
    unlike any surface; and up to a multiple of it, so that every level lies on the same grid at every size."""
    height, width = (-(-side // STRIDE_PX) for side in frame.shape[1:3])
    images = to_images(frame, image_channels).to(device)
    if config.even_exposure:
        images = even_exposure(images)
    images = images / 127.5 - 1.0
    return torch.cat([_view(encoder, images, shrink, height, width) for shrink in config.shrinks], dim=1)


def _view(encoder: Encoder, images: Tensor, shrink: int, height: int, width: int) -> Tensor:
    """One view of the frame, on the grid of `height` × `width` cells."""
    if shrink > 1:
        images = functional.avg_pool2d(images, shrink, ceil_mode=True)
    coarsest = max(encoder.strides)
    sides = images.shape[-2:]
    below, right = (coarsest + -side % coarsest for side in sides)
    mode = "reflect" if min(sides) > max(below, right) else "replicate"  # nothing mirrors further than it reaches
    images = functional.pad(images, (coarsest, right, coarsest, below), mode=mode)
    levels = []
    for level, stride in zip(encoder(images.expand(-1, 3, -1, -1)), encoder.strides, strict=True):
        margin = coarsest // stride
        own_height, own_width = (-(-side // stride) for side in sides)
        levels.append(level[..., margin : margin + own_height, margin : margin + own_width])
    return joined(levels, [stride * shrink for stride in encoder.strides], STRIDE_PX, height, width)


def fit_feature_front(
    encoder: Encoder,
    frames: Sequence[NDArray[np.uint8]],
    image_channels: int,
    config: RadarConfig,
    device: torch.device,
) -> tuple[FeatureFront, list[Tensor]]:
    """The front that gives these normals zero mean and unit covariance in every ring, and each normal (C, h, w) as it
    sees it, in half precision."""
    # Half precision, as the bundle will store it: the front must see in training what it will see in service.
    encoder = encoder_from_tensors(encoder.name, encoder_tensors(encoder), encoder.levels).to(device)
    features = [raw_features(encoder, frame[None], image_channels, config, device)[0].cpu().half() for frame in frames]
    mean, whitening = fit_whitening(features, config)
    whitening = whitening.half().float()
    seen = [whiten(one.float()[None], mean, whitening, config)[0].half() for one in features]
    return FeatureFront(encoder, config, image_channels, mean, whitening), seen


def fit_whitening(features: Sequence[Tensor], config: RadarConfig) -> tuple[Tensor, Tensor]:
    """(C, h, w) maps of normals → mean (rings, C) and whitening (rings, C, C).

    With `loud_share` the whitened fibres are whitened once more, by the covariance of the loudest of them alone. Those
    are the marks that good parts carry. In the directions in which marks differ from the rest a frame then has to go
    further to stand out; where normals never go, a defect stands out sooner.
    """
    channels = len(features[0])
    at = [rings(*one.shape[1:], config.rings, config.ring_cells).flatten() for one in features]
    found = _moments(((_fibres(one), ring) for one, ring in zip(features, at, strict=True)), config.rings, channels)
    mean = found.mean
    whitening = torch.stack([_whitening_of(one) for one in found.covariance(_FIBRES_PER_DEGREE * channels)])
    if not config.loud_share:
        return mean.float(), whitening
    white = [whiten(one.float()[None], mean.float(), whitening, config)[0] for one in features]
    least = _loudness_of_the_loudest(white, at, config)
    loud = _moments(
        (
            (_fibres(one)[is_loud], ring[is_loud])
            for one, ring in zip(white, at, strict=True)
            for is_loud in [one.square().sum(dim=0).flatten() >= least[ring]]
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
            own = fibres[ring == index]
            counts[index] += len(own)
            sums[index] += own.sum(dim=0)
            products[index] += own.T @ own
    return _Moments(counts, sums, products)


def _fibres(one: Tensor) -> Tensor:
    """(C, h, w) → (h · w, C) in double precision."""
    return one.flatten(start_dim=1).T.double()


def _loudness_of_the_loudest(white: Sequence[Tensor], at: Sequence[Tensor], config: RadarConfig) -> Tensor:
    """(rings,): the squared norm that the loudest `loud_share` of each ring's fibres have at least."""
    loudness = torch.cat([one.square().sum(dim=0).flatten() for one in white])
    ring = torch.cat(list(at))
    least = torch.zeros(config.rings)
    for index in torch.unique(ring).tolist():
        own = loudness[ring == index]
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


def _whitening_of(covariance: Tensor) -> Tensor:
    """Symmetric (ZCA): a channel stays near itself."""
    deviation = covariance.diag().clamp(min=_TINY**2).sqrt()
    variances, directions = torch.linalg.eigh(covariance / torch.outer(deviation, deviation))
    whitening: Tensor = directions / (variances.clamp(min=0) + _FLOOR).sqrt() @ directions.T / deviation
    return whitening.float()


def whiten(features: Tensor, mean: Tensor, whitening: Tensor, config: RadarConfig) -> Tensor:
    """(N, C, h, w) → the same shape: each fibre by the statistics of its ring."""
    height, width = features.shape[-2:]
    ring = rings(height, width, len(mean), config.ring_cells).flatten().to(features.device)
    # Fibres as rows, those of a ring in a row: one product for each ring, and nothing is computed twice.
    fibres = features.permute(0, 2, 3, 1).flatten(1, 2)
    by_ring = ring.argsort(stable=True)
    sorted_fibres, counts = fibres[:, by_ring], torch.bincount(ring, minlength=len(mean)).tolist()
    white = torch.empty_like(fibres)
    parts = zip(torch.split(sorted_fibres, counts, dim=1), torch.split(by_ring, counts), mean, whitening, strict=True)
    for own, at, middle, matrix in parts:
        white[:, at] = (own - middle) @ matrix.T
    return white.view(-1, height, width, white.shape[-1]).permute(0, 3, 1, 2)


def front_from_tensors(config: RadarConfig, image_channels: int, tensors: Mapping[str, NDArray[Any]]) -> Front:
    """Raises KeyError or RuntimeError when a tensor is missing."""
    if config.space == "pixels":
        return PixelFront(config, image_channels)
    own = {name.removeprefix(_ENCODER): array for name, array in tensors.items() if name.startswith(_ENCODER)}
    mean, whitening = (torch.from_numpy(tensors[f"front.{name}"]).float() for name in ("mean", "whitening"))
    return FeatureFront(encoder_from_tensors(config.encoder, own), config, image_channels, mean, whitening)
