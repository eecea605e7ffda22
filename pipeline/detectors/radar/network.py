"""The noise predictor: diffusers' U-Net, self-attention at the bottleneck alone, and its noise schedule."""

from collections.abc import Mapping
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from pipeline.detectors.radar.config import RadarConfig

_GROUPS = 8


class NoisePredictor(nn.Module):
    """(N, C, h, w) noisy frames and (N,) timesteps → (N, C, h, w) predicted noise; h, w are multiples of `stride_px`.

    The U-Net works on folded frames (space to depth): a position holds fold × fold pixels as channels. Full resolution
    goes in and comes out, while the costly first level runs on fold² fewer positions.
    """

    def __init__(self, config: RadarConfig, image_channels: int) -> None:
        super().__init__()
        from diffusers import UNet2DModel

        levels = len(config.channels)
        folded = image_channels * config.fold**2
        self.fold = config.fold
        self.unet: nn.Module = UNet2DModel(  # type: ignore[no-untyped-call, assignment]
            in_channels=folded,
            out_channels=folded,
            block_out_channels=config.channels,
            layers_per_block=1,
            down_block_types=("DownBlock2D",) * levels,
            up_block_types=("UpBlock2D",) * levels,
            add_attention=True,
            attention_head_dim=16,
            norm_num_groups=_GROUPS,
        )
        self.to(memory_format=torch.channels_last)

    def forward(self, noisy: Tensor, timesteps: Tensor) -> Tensor:
        folded = functional.pixel_unshuffle(noisy, self.fold) if self.fold > 1 else noisy
        predicted = self.unet(as_channels_last(folded), timesteps, return_dict=False)[0]
        return functional.pixel_shuffle(predicted, self.fold) if self.fold > 1 else predicted


def as_channels_last(images: Tensor) -> Tensor:
    """Channels-last memory, which convolves faster on CPUs. With one channel torch cannot tell the formats apart and
    would take the slow one, so the strides are set by hand."""
    images = images.contiguous(memory_format=torch.channels_last)
    n, c, h, w = images.shape
    return images.as_strided((n, c, h, w), (h * w * c, 1, w * c, c))


def load_weights(network: NoisePredictor, tensors: Mapping[str, NDArray[Any]]) -> None:
    """Fills the network from arrays named as in its state dict. Raises RuntimeError on a missing or a foreign name."""
    network.load_state_dict({name: torch.from_numpy(array) for name, array in tensors.items()})


def cumulative_alphas(config: RadarConfig) -> Tensor:
    """(train_timesteps,): the share of signal variance left at each timestep, ᾱ_t of DDPM (arXiv 2006.11239, eq. 4)."""
    from diffusers import DDPMScheduler

    schedule = DDPMScheduler(num_train_timesteps=config.train_timesteps, beta_schedule=config.beta_schedule)  # type: ignore[no-untyped-call]
    alphas: Tensor = schedule.alphas_cumprod  # type: ignore[attr-defined]
    return alphas
