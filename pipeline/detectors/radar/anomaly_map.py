"""One diffusion step forward, one network pass, and the Sobel map of what it predicted."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from pipeline.detectors.radar.border import places
from pipeline.detectors.radar.config import RadarConfig
from pipeline.detectors.radar.network import NoisePredictor, predict
from pipeline.detectors.radar.preprocess import box_mean


def predicted_noise(network: NoisePredictor, images: Tensor, alpha: float, config: RadarConfig) -> Tensor:
    """(N, C, h, w) normalised frames → (N, C, h, w): the noise that the network believes to see in them.

    The forward step x_t = √ᾱ_t·x + √(1 − ᾱ_t)·ε (arXiv 2006.11239, eq. 4) is taken with ε = 0. What the network still
    calls noise is then all of the frame's own making: structure that normals do not have. With a drawn ε the map
    would be dominated by the draw, and the same frame would score differently every time.
    """
    timesteps = torch.full((len(images),), config.timestep, device=images.device)
    return box_mean(predict(network, images * alpha**0.5, timesteps, config), config.blur_px)


def noise_norm(noise: Tensor) -> Tensor:
    """(N, C, h, w) → (N, h, w): root mean square over the channels of each position."""
    return noise.square().mean(dim=1).sqrt()


def over_normal(noise: Tensor, usual: Tensor, config: RadarConfig) -> Tensor:
    """Divides the noise by what is usual at each place of a frame.

    usual (rings²,): see `usual_norms`. The result has the shape of `noise`.
    """
    height, width = noise.shape[-2:]
    return noise / usual.to(noise.device)[places(height, width, config.rings, config.ring_cells).to(noise.device)]


def usual_norms(norms: list[Tensor], config: RadarConfig) -> Tensor:
    """(h, w) norm maps of normals → (rings²,): a high quantile for each place (`border.places`). Places that no normal
    has, or that are silent in all of them, get that of the whole."""
    found: list[list[Tensor]] = [[] for _ in range(config.rings**2)]
    for norm in norms:
        at = places(*norm.shape, config.rings, config.ring_cells)
        for place in torch.unique(at).tolist():
            found[place].append(norm[at == place])
    quantiles = [_quantile(torch.cat(values), config.place_quantile) if values else 0.0 for values in found]
    whole = _quantile(torch.cat([norm.flatten() for norm in norms]), config.place_quantile)
    return torch.tensor([quantile or whole or 1.0 for quantile in quantiles])


def _quantile(values: Tensor, share: float) -> float:
    # Not sorted: torch's sort takes four times the memory of the values, which may be a quarter of a billion.
    place = min(len(values) - 1, int(share * len(values)))
    return float(np.partition(values.numpy(), place)[place])


def sobel_magnitude(noise: Tensor) -> Tensor:
    """(N, C, h, w) → (N, h, w): gradient magnitude over all channels. The border repeats, lest it be an edge itself."""
    padded = functional.pad(noise, (1, 1, 1, 1), mode="replicate")
    # Each kernel is a slope along one axis and a mean along the other: three sums in place of nine products.
    across = _smooth(padded, dim=2)
    across = across[..., 2:] - across[..., :-2]
    down = _smooth(padded, dim=3)
    down = down[..., 2:, :] - down[..., :-2, :]
    return (across.square_().sum(dim=1) + down.square_().sum(dim=1)).sqrt()


def pooled(maps: Tensor, config: RadarConfig) -> Tensor:
    """(N, h, w), a value per position → (N, ceil(H / map_px), ceil(W / map_px)): their root mean square over squares of
    `pooled_px` around the middle of each cell, at the border over the part of the square inside the frame.

    In pixels, damage and grain alike are a scatter of high values; damage is where many lie together.
    """
    if not config.pooled_px:
        return maps
    side, step = config.pooled_px // config.scale, config.map_px // config.scale
    squares = functional.avg_pool2d(
        maps.square()[:, None], side, step, padding=(side - step) // 2, ceil_mode=True, count_include_pad=False
    )
    return squares.sqrt()[:, 0]


def over_frame(maps: Tensor, height: int, width: int, scale: int) -> Tensor:
    """(N, h, w) of `scale` frame pixels a position, from the upper left corner → (N, h, w) that spans a frame of
    height × width px and no more.

    Whoever draws a map over its frame stretches it from edge to edge. The last row and column may reach beyond: at
    297 px the last of 38 positions lies in 296 … 304, and stretching all to 297 px moves what they show by up to 7 px.
    """
    rows, columns = maps.shape[1:]
    if rows * scale == height and columns * scale == width:
        return maps

    def along(count: int, side: int) -> Tensor:
        """Of each new position's middle: where it lies in the old map, from −1 to 1 (see `grid_sample`)."""
        return (torch.arange(count, device=maps.device) + 0.5) * (2 * side / (count * count * scale)) - 1

    down, across = torch.meshgrid(along(rows, height), along(columns, width), indexing="ij")
    grid = torch.stack([across, down], dim=-1).expand(len(maps), -1, -1, -1)
    return functional.grid_sample(maps[:, None], grid, padding_mode="border", align_corners=False)[:, 0]


def _smooth(images: Tensor, dim: int) -> Tensor:
    """1-2-1 along the axis, which gets shorter by two; by 8, so that a slope of one a cell comes out as one."""
    length = images.shape[dim] - 2
    ends = images.narrow(dim, 0, length) + images.narrow(dim, 2, length)
    return ends.div_(8).add_(images.narrow(dim, 1, length), alpha=0.25)
