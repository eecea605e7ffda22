"""The encoder that nobody taught."""

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.detectors import wavelets
from pipeline.detectors.encoder import Encoder

pytestmark = pytest.mark.unit

DIRECTIONS = slice(3, wavelets.CHANNELS)


def cells(frame: Tensor) -> Tensor:
    """(H, W) → (channels, H // 8, W // 8)"""
    found: Tensor = Encoder(wavelets.NAME)(frame.expand(1, 3, -1, -1))[0][0]
    return found


def test_even_light_swings_nowhere() -> None:
    found = cells(torch.full((64, 64), 0.4))[:, 2:-2, 2:-2]  # the outermost cells see the end of the frame
    assert torch.allclose(found[0], torch.tensor(0.4))
    assert found[DIRECTIONS].max() < 1e-3


@pytest.mark.parametrize("direction", range(8))
def test_stripes_swing_most_in_their_own_direction(direction: int) -> None:
    rows, columns = np.mgrid[:64, :64]
    angle = np.pi * direction / 8
    stripes = np.sin(2 * np.pi * (columns * np.cos(angle) + rows * np.sin(angle)) / 4)
    found = cells(torch.from_numpy(stripes).float())[DIRECTIONS, 3:5, 3:5].mean(dim=(1, 2))
    assert int(found.argmax()) == direction


def test_where_stripes_begin_moves_nothing() -> None:
    """The modulus forgets the phase: that is what sets this apart from the pixels themselves."""
    columns = torch.arange(64).float().expand(64, 64)
    here, there = (cells(torch.sin(2 * torch.pi * (columns + start) / 4)) for start in (0.0, 1.0))
    assert torch.allclose(here[DIRECTIONS, 2:-2, 2:-2], there[DIRECTIONS, 2:-2, 2:-2], atol=1e-3)


def test_colour_shows_where_light_does_not() -> None:
    gray = torch.zeros(1, 3, 32, 32)
    red = gray + torch.tensor([0.3, -0.15, -0.15]).view(1, 3, 1, 1)
    encoder = Encoder(wavelets.NAME)
    plain, stained = (encoder(images)[0][0, :3, 1:-1, 1:-1] for images in (gray, red))
    assert plain.abs().max() == 0
    assert torch.allclose(stained[0], torch.tensor(0.0), atol=1e-6)
    assert torch.allclose(stained[1], torch.tensor(0.45))
