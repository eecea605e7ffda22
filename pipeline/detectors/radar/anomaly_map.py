"""One diffusion step forward, one network pass, and the Sobel map of what it predicted."""

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.detectors.radar.config import RadarConfig
from pipeline.detectors.radar.network import NoisePredictor
from pipeline.detectors.radar.preprocess import box_mean, pad_to_stride


def predicted_noise(network: NoisePredictor, images: Tensor, alpha: float, config: RadarConfig) -> Tensor:
    """(N, C, h, w) normalised frames → (N, C, h, w): the noise that the network believes to see in them.

    The forward step x_t = √ᾱ_t·x + √(1 − ᾱ_t)·ε (arXiv 2006.11239, eq. 4) is taken with ε = 0. What the network still
    calls noise is then all of the frame's own making: structure that normals do not have. With a drawn ε the map
    would be dominated by the draw, and the same frame would score differently every time.
    """
    height, width = images.shape[-2:]
    noisy = pad_to_stride(images * alpha**0.5, config.stride_px)
    timesteps = torch.full((len(images),), config.timestep, device=images.device)
    predicted: Tensor = network(noisy, timesteps)
    return box_mean(predicted[..., :height, :width].contiguous(), config.blur_px)


def sobel_magnitude(noise: Tensor) -> Tensor:
    """(N, C, h, w) → (N, h, w): gradient magnitude over all channels. The border repeats, lest it be an edge itself."""
    channels = noise.shape[1]
    smooth = torch.tensor([1.0, 2.0, 1.0], device=noise.device) / 4
    slope = torch.tensor([-1.0, 0.0, 1.0], device=noise.device) / 2
    kernels = torch.stack([torch.outer(smooth, slope), torch.outer(slope, smooth)]).unsqueeze(1)
    padded = functional.pad(noise, (1, 1, 1, 1), mode="replicate")
    gradients = functional.conv2d(padded, kernels.repeat(channels, 1, 1, 1), groups=channels)
    return gradients.square().sum(dim=1).sqrt()
