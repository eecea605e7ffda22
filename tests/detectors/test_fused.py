"""Convolutions in one call with what stands before and behind them."""

import pytest
import torch
from torch import nn

from pipeline.detectors.fused import FusedConv, fused
from pipeline.detectors.lite0 import SameConv

pytestmark = pytest.mark.unit


def images(height: int, width: int, channels: int = 8) -> torch.Tensor:
    made = torch.randn(1, channels, height, width, generator=torch.Generator().manual_seed(height))
    return made.contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("size", [(20, 20), (21, 21), (20, 21), (21, 20)])
def test_a_kernel_that_grew_by_zeros_sees_what_a_padded_map_shows(kernel: int, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    plain = SameConv(8, 8, kernel, stride=2, groups=8).requires_grad_(False)
    found = FusedConv(plain)(images(*size))
    torch.testing.assert_close(found, plain(images(*size)), rtol=1e-5, atol=1e-6)
    assert found.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("activation", [nn.ReLU6, nn.ReLU, nn.Identity])
def test_a_network_says_the_same_without_maps_in_between(activation: type[nn.Module]) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(8, 24, 1), activation(), nn.Conv2d(24, 24, 3, padding=1, groups=24), nn.SiLU(), nn.Conv2d(24, 4, 1)
    ).requires_grad_(False)
    copy, frame = fused(network), 20 * images(9, 13)
    torch.testing.assert_close(copy(frame), network(frame), rtol=1e-5, atol=1e-5)
    assert [type(part) for part in copy] == [FusedConv, nn.Identity, FusedConv, nn.SiLU, FusedConv]
    assert not any(isinstance(part, FusedConv) for part in network), "what is trained on stays as it was"


@pytest.mark.parametrize("conv", [nn.Conv2d(8, 8, 3, padding="same"), nn.Conv2d(8, 8, 3, padding_mode="reflect")])
def test_paddings_that_the_call_does_not_know_are_left_alone(conv: nn.Conv2d) -> None:
    assert [type(part) for part in fused(nn.Sequential(conv, nn.ReLU()))] == [nn.Conv2d, nn.ReLU]


def test_without_onednn_it_goes_step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    copy, frame = fused(nn.Sequential(nn.Conv2d(8, 8, 1), nn.ReLU6()).requires_grad_(False)), 20 * images(5, 5)
    expected = copy(frame)
    monkeypatch.setattr("pipeline.detectors.fused._has_onednn", lambda: False)
    torch.testing.assert_close(copy(frame), expected, rtol=1e-5, atol=1e-5)
    assert expected.min() == 0
    assert expected.max() == 6
