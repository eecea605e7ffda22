"""An encoder that nobody taught: how strongly a frame swings in each direction, cell by cell, from its pixels alone.

The first order of a wavelet scattering (Bruna and Mallat, *Invariant scattering convolution networks*, arXiv 1203.1513,
section 2.2): |x ⋆ ψ| averaged over a cell, ψ being Morlet wavelets of several directions. It needs no weights of others
and no licence. One wavelength is enough, since RADAR looks at the frame in several sizes.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

NAME = "wavelets"
STRIDE = 8
MEAN = STD = (0.5, 0.5, 0.5)
"""It takes frames as they come: they are not rescaled."""
_DIRECTIONS = 8
_WAVELENGTH_PX = 4.0
_SIGMA = 0.45
"""Of a wavelet's envelope, in wavelengths: some two swings."""
_SLANT = 0.5
"""Its envelope is so many times narrower along the swing than across it: cracks and edges are longer than wide."""
_REACH_PX = 5
_COLOURS = 2
CHANNELS = 1 + _COLOURS + _DIRECTIONS


class Wavelets(nn.Module):
    """(N, 3, H, W) → [(N, CHANNELS, H // 8, W // 8)]: of each cell of 8 × 8 px the mean, how far red and blue lie from
    green, and the square root of the mean modulus in each direction, which swings less from cell to cell."""

    def __init__(self) -> None:
        super().__init__()
        self.swings = nn.Conv2d(1, 2 * _DIRECTIONS, 2 * _REACH_PX + 1, padding=_REACH_PX, bias=False)
        with torch.no_grad():
            self.swings.weight.copy_(torch.from_numpy(_morlets())[:, None])

    def forward(self, images: Tensor) -> list[Tensor]:
        red, green, blue = torch.split(images, 1, dim=1)
        light = images.mean(dim=1, keepdim=True)
        real, imaginary = torch.split(self.swings(light).square(), _DIRECTIONS, dim=1)
        means = torch.cat([light, red - green, blue - green, (real + imaginary).sqrt()], dim=1)
        means = functional.avg_pool2d(means, STRIDE)
        return [torch.cat([means[:, : 1 + _COLOURS], means[:, 1 + _COLOURS :].sqrt()], dim=1)]


def _morlets() -> NDArray[np.float32]:
    """(2 · directions, side, side): real parts of all, then imaginary parts. Each has no mean, so that even light moves
    none, and the absolute values of each add up to 2."""
    steps = np.arange(-_REACH_PX, _REACH_PX + 1)
    rows, columns = np.meshgrid(steps, steps, indexing="ij")
    found = []
    for direction in np.pi * np.arange(_DIRECTIONS) / _DIRECTIONS:
        along = columns * np.cos(direction) + rows * np.sin(direction)
        across = rows * np.cos(direction) - columns * np.sin(direction)
        envelope = np.exp(-(along**2 + (_SLANT * across) ** 2) / (2 * (_SIGMA * _WAVELENGTH_PX) ** 2))
        swing = np.exp(2j * np.pi * along / _WAVELENGTH_PX)
        wavelet = envelope * (swing - (envelope * swing).sum() / envelope.sum())
        found.append(wavelet * 2 / np.abs(wavelet).sum())
    stacked = np.stack(found)
    return np.concatenate([stacked.real, stacked.imag]).astype(np.float32)
