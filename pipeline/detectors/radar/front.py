"""What RADAR diffuses: pixels, as in the paper, or the feature maps of a frozen encoder."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from pipeline.detectors.bundle import below
from pipeline.detectors.encoder import Encoder, encoder_from_tensors, encoder_tensors
from pipeline.detectors.images import to_images
from pipeline.detectors.radar.config import STRIDE_PX, RadarConfig
from pipeline.detectors.radar.grid import joined
from pipeline.detectors.radar.preprocess import contrast, even_exposure, normalise
from pipeline.detectors.radar.projection import Projection

_ENCODER = "encoder."


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
        return normalise(to_images(frames, self.channels, device), self.config)

    def tensors(self) -> dict[str, NDArray[Any]]:
        return {}


@dataclass(frozen=True)
class FeatureFront:
    """Its encoder and its projection lie on the device that it is called with."""

    encoder: Encoder
    config: RadarConfig
    image_channels: int
    """1 for gray, 3 for RGB: what the frames are brought to before the encoder, which always takes three."""
    projection: Projection

    @property
    def channels(self) -> int:
        return self.projection.channels

    @torch.no_grad()
    def __call__(self, frames: NDArray[np.uint8], device: torch.device) -> Tensor:
        features = raw_features(self.encoder, frames, self.image_channels, self.config, device)
        return self.projection(features, self.config)

    def tensors(self) -> dict[str, NDArray[Any]]:
        own = {_ENCODER + name: value for name, value in encoder_tensors(self.encoder).items()}
        return own | self.projection.tensors()


@torch.no_grad()  # not inference_mode: training goes on with what comes out
def raw_features(
    encoder: Encoder, frames: NDArray[np.uint8], image_channels: int, config: RadarConfig, device: torch.device
) -> Tensor:
    """(N, H, W[, 3]) → (N, C, ceil(H / 8), ceil(W / 8)).

    Frames are mirrored outwards by one cell of the coarsest level, since encoders fill up with zeros, which are
    unlike any surface; and up to a multiple of it, so that every level lies on the same grid at every size."""
    height, width = (-(-side // STRIDE_PX) for side in frames.shape[1:3])
    images = to_images(frames, image_channels, device)
    if config.even_exposure:
        images = even_exposure(images)
    views = [_view(encoder, images, shrink, config.contrast_px, height, width) for shrink in config.shrinks]
    return torch.cat(views, dim=1)


def _view(encoder: Encoder, images: Tensor, shrink: int, contrast_px: int, height: int, width: int) -> Tensor:
    """One view of the frame, on the grid of `height` × `width` cells."""
    if shrink > 1:
        images = functional.avg_pool2d(images, shrink, ceil_mode=True)
    images = contrast(images, contrast_px)
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


def front_from_tensors(config: RadarConfig, image_channels: int, tensors: Mapping[str, NDArray[Any]]) -> Front:
    """Raises KeyError or RuntimeError when a tensor is missing."""
    if config.space == "pixels":
        return PixelFront(config, image_channels)
    encoder = encoder_from_tensors(config.encoder, below(_ENCODER, tensors))
    return FeatureFront(encoder, config, image_channels, Projection.from_tensors(config, tensors))
