"""Convolutions as one call of oneDNN each: padding, convolution and activation, without a map in between.

torch writes what every step gives to memory of its own, which on a CPU takes longer than the arithmetic of a light
network; and with one thread it sends 1 × 1 convolutions down a slow path. The call used here is the one that torch's
own compiler emits, without the time that it compiles.
"""

import copy
from typing import Final, TypeVar

import torch
from torch import Tensor, nn

from pipeline.detectors.lite0 import SameConv

_LIMITS: Final[dict[type[nn.Module], tuple[float, float] | None]] = {
    nn.Identity: None,
    nn.ReLU: (0.0, float("inf")),
    nn.ReLU6: (0.0, 6.0),
}


Network = TypeVar("Network", bound=nn.Module)


def fused(network: Network) -> Network:
    """A copy for inference; the network itself may be trained on."""
    own = copy.deepcopy(network).eval()
    fuse(own)
    return own


def fuse(network: nn.Module) -> None:
    """Changes the network in place. It computes the same to float rounding, provided that an activation registered
    right behind a convolution also runs right behind it. For inference alone."""
    before: FusedConv | None = None
    for name, module in list(network.named_children()):
        conv = _as_fused(module)
        if conv is not None:
            setattr(network, name, conv)
        elif before is not None and type(module) in _LIMITS:
            before.limits = _LIMITS[type(module)]
            setattr(network, name, nn.Identity())
        else:
            fuse(module)
        before = conv


def _as_fused(module: nn.Module) -> "FusedConv | None":
    if isinstance(module, SameConv):
        return FusedConv(module)
    if type(module) is nn.Conv2d and module.padding_mode == "zeros" and not isinstance(module.padding, str):
        return FusedConv(module)
    return None


class FusedConv(nn.Module):
    """(N, C, H, W) → (N, C', H', W'), held within `limits` where there are any. Where there is no oneDNN, on a GPU and
    in an exported graph it runs step by step."""

    def __init__(self, plain: nn.Conv2d) -> None:
        super().__init__()
        self.plain = plain
        self.limits: tuple[float, float] | None = None

    def forward(self, flow: Tensor) -> Tensor:
        if not flow.is_cpu or torch.compiler.is_exporting() or not _has_onednn():
            found: Tensor = self.plain(flow)
            return found if self.limits is None else found.clamp(*self.limits)
        plain = self.plain
        weight, padding = plain.weight, plain.padding
        if isinstance(plain, SameConv):
            weight, padding = plain.symmetric(*flow.shape[-2:])
        activation = "none" if self.limits is None else "hardtanh"
        fused: Tensor = torch.ops.mkldnn._convolution_pointwise(
            flow,
            weight,
            plain.bias,
            padding,
            plain.stride,
            plain.dilation,
            plain.groups,
            activation,
            self.limits or (),
            "",
        )
        return fused


def _has_onednn() -> bool:
    built_in = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return built_in and hasattr(torch.ops.mkldnn, "_convolution_pointwise")
