"""What RADAR diffuses: pixels, as in the paper, or the feature maps of a frozen encoder."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from pipeline.detectors.encoder import Encoder, encoder_from_tensors, encoder_tensors
from pipeline.detectors.images import to_images
from pipeline.detectors.radar.config import STRIDE_PX, RadarConfig
from pipeline.detectors.radar.grid import joined
from pipeline.detectors.radar.preprocess import normalise

_ENCODER = "encoder."
_FLOOR = 0.1
"""Added to the variances before whitening, relative to those of standardised channels: directions in which normals
hardly vary hold the encoder's rounding noise, and would be blown up without it."""
_TINY = 1e-4


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
    image_channels: int
    """1 for gray, 3 for RGB: what the frames are brought to before the encoder, which always takes three."""
    mean: Tensor
    """(C,): of the fitted normals' fibres."""
    whitening: Tensor
    """(C, C): gives those fibres about unit covariance, so that one step of white noise means the same in every
    direction. Unwhitened, the few directions of high variance would drown the ones in which defects differ."""

    @property
    def channels(self) -> int:
        return sum(self.encoder.channels)

    def __call__(self, frames: NDArray[np.uint8], device: torch.device) -> Tensor:
        return _whiten(
            raw_features(self.encoder.to(device), frames, self.image_channels, device),
            self.mean.to(device),
            self.whitening.to(device),
        )

    def tensors(self) -> dict[str, NDArray[Any]]:
        own = {"front.mean": self.mean.numpy(), "front.whitening": self.whitening.numpy()}
        return own | {_ENCODER + name: value for name, value in encoder_tensors(self.encoder).items()}


@torch.no_grad()  # not inference_mode: training goes on with what comes out
def raw_features(encoder: Encoder, frames: NDArray[np.uint8], image_channels: int, device: torch.device) -> Tensor:
    """(N, H, W[, 3]) → (N, C, h, w), one frame at a time: a batch of large frames would fill the memory."""
    images = (to_images(frame[None], image_channels).to(device) for frame in frames)
    grid = [-(-side // STRIDE_PX) for side in frames.shape[1:3]]
    return torch.cat([joined(encoder(image.expand(-1, 3, -1, -1) / 127.5 - 1.0), *grid) for image in images])


def fit_feature_front(
    encoder: Encoder, frames: NDArray[np.uint8], image_channels: int, device: torch.device
) -> tuple[FeatureFront, Tensor]:
    """The front that gives these normals zero mean and unit covariance, and the normals as it sees them."""
    # Half precision, as the bundle will store it: the front must see in training what it will see in service.
    encoder = encoder_from_tensors(encoder.name, encoder_tensors(encoder))
    features = raw_features(encoder.to(device), frames, image_channels, device).cpu()
    mean = features.mean(dim=(0, 2, 3))
    deviation = features.std(dim=(0, 2, 3)).clamp(min=_TINY)
    fibres = (features - mean.view(1, -1, 1, 1)).permute(0, 2, 3, 1).reshape(-1, len(mean)) / deviation
    variances, directions = torch.linalg.eigh((fibres.T @ fibres / len(fibres)).double())
    whitening = (directions / (variances + _FLOOR).sqrt() @ directions.T).float() / deviation
    return FeatureFront(encoder, image_channels, mean, whitening), _whiten(features, mean, whitening)


def _whiten(features: Tensor, mean: Tensor, whitening: Tensor) -> Tensor:
    return functional.conv2d(features - mean.view(1, -1, 1, 1), whitening[:, :, None, None])


def front_from_tensors(config: RadarConfig, image_channels: int, tensors: Mapping[str, NDArray[Any]]) -> Front:
    """Raises KeyError or RuntimeError when a tensor is missing."""
    if config.space == "pixels":
        return PixelFront(config, image_channels)
    own = {name.removeprefix(_ENCODER): array for name, array in tensors.items() if name.startswith(_ENCODER)}
    mean, whitening = (torch.from_numpy(tensors[f"front.{name}"]) for name in ("mean", "whitening"))
    return FeatureFront(encoder_from_tensors(config.encoder, own), image_channels, mean, whitening)
