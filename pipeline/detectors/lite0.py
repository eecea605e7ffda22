"""The feature maps of EfficientNet-Lite0 (arXiv 1905.11946, without its squeeze-and-excitation), as timm builds them.

timm makes any encoder, but importing it takes some seconds of every process that scores, more than everything else that
a replica needs. So the one encoder whose weights need no network has its layers here. Names, their order and every
number are timm's: weights fit both, and a test compares them to the bit.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

NAME = "tf_efficientnet_lite0"
MEAN = STD = (0.5, 0.5, 0.5)
"""The scale of gray levels that it was taught on."""


@dataclass(frozen=True)
class _Stage:
    blocks: int
    channels: int
    stride: int
    kernel: int
    widening: int
    """How many times more channels the depthwise convolution has than its block takes."""


_STEM = 32
_STAGES = (
    _Stage(1, 16, 1, 3, 1),
    _Stage(2, 24, 2, 3, 6),
    _Stage(2, 40, 2, 5, 6),
    _Stage(3, 80, 2, 3, 6),
    _Stage(3, 112, 1, 5, 6),
    _Stage(4, 192, 2, 5, 6),
    _Stage(1, 320, 1, 3, 6),
)
_LAST_OF_LEVEL = (0, 1, 2, 4, 6)
"""Level → its stage: the last one of each resolution."""
LEVELS = range(len(_LAST_OF_LEVEL))


def channels(level: int) -> int:
    return _STAGES[_LAST_OF_LEVEL[level]].channels


def stride(level: int) -> int:
    """Frame pixels per cell of the level's map."""
    return int(2 ** (level + 1))


class Lite0(nn.Module):
    """(N, 3, H, W) → one map per level, (N, channels(level), ceil(H / stride(level)), ceil(W / stride(level)))."""

    def __init__(self, levels: Sequence[int]) -> None:
        super().__init__()
        self._wanted = {_LAST_OF_LEVEL[level] for level in levels}
        self.conv_stem: nn.Module = SameConv(3, _STEM, 3, stride=2)
        self.bn1: nn.Module = _NormAct(_STEM, nn.ReLU6(inplace=True))
        self.blocks = nn.Sequential()
        entering = _STEM
        for stage in _STAGES[: max(self._wanted) + 1]:
            blocks = nn.Sequential()
            for number in range(stage.blocks):
                blocks.append(_block(entering, stage, stage.stride if number == 0 else 1))
                entering = stage.channels
            self.blocks.append(blocks)

    def forward(self, images: Tensor) -> list[Tensor]:
        flow = self.bn1(self.conv_stem(images))
        maps = []
        for number, stage in enumerate(self.blocks):
            flow = stage(flow)
            if number in self._wanted:
                maps.append(flow)
        return maps


class _NormAct(nn.BatchNorm2d):
    """A normalisation that holds the activation behind it."""

    def __init__(self, width: int, act: nn.Module) -> None:
        super().__init__(width, eps=1e-3)
        self.act = act

    def forward(self, flow: Tensor) -> Tensor:
        normalised: Tensor = self.act(super().forward(flow))
        return normalised


class SameConv(nn.Conv2d):
    """TensorFlow's "same" padding: with a stride, the odd cell is added behind and below."""

    def __init__(self, entering: int, leaving: int, kernel: int, stride: int, groups: int = 1) -> None:
        super().__init__(entering, leaving, kernel, stride, groups=groups, bias=False)

    def forward(self, flow: Tensor) -> Tensor:
        # As timm's max((⌈size / stride⌉ − 1) · stride + kernel − size, 0), where no kernel is below its stride. In
        # this form the exporter, which reasons about sizes, takes seconds in place of minutes.
        rows, columns = (
            kernel - 1 - (size - 1) % stride
            for size, kernel, stride in zip(flow.shape[-2:], self.kernel_size, self.stride, strict=True)
        )
        padded = functional.pad(flow, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))
        return functional.conv2d(padded, self.weight, self.bias, self.stride, groups=self.groups)

    def symmetric(self, rows: int, columns: int) -> tuple[Tensor, tuple[int, ...]]:
        """A weight and a padding, equal on both sides, that give the same: the kernel grows by a first row or column of
        zeros where a side is even. So nobody has to copy a map into a larger one."""
        # Both strides are 2 and kernels odd: an odd side is padded by kernel // 2 on both sides, an even one lacks the
        # first of these.
        grown = functional.pad(self.weight, (1 - columns % 2, 0, 1 - rows % 2, 0))
        return grown, tuple(kernel // 2 for kernel in self.kernel_size)


def _depthwise(width: int, kernel: int, stride: int) -> nn.Module:
    if stride > 1:
        return SameConv(width, width, kernel, stride, groups=width)
    return nn.Conv2d(width, width, kernel, padding=kernel // 2, groups=width, bias=False)


def _block(entering: int, stage: _Stage, stride: int) -> nn.Module:
    if stage.widening == 1:
        return _Separable(entering, stage, stride)
    return _InvertedResidual(entering, stage, stride)


class _Separable(nn.Module):
    def __init__(self, entering: int, stage: _Stage, stride: int) -> None:
        super().__init__()
        self._adds = stride == 1 and entering == stage.channels
        self.conv_dw = _depthwise(entering, stage.kernel, stride)
        self.bn1: nn.Module = _NormAct(entering, nn.ReLU6(inplace=True))
        self.conv_pw = nn.Conv2d(entering, stage.channels, 1, bias=False)
        self.bn2: nn.Module = _NormAct(stage.channels, nn.Identity())

    def forward(self, flow: Tensor) -> Tensor:
        added: Tensor = self.bn2(self.conv_pw(self.bn1(self.conv_dw(flow))))
        return added + flow if self._adds else added


class _InvertedResidual(nn.Module):
    def __init__(self, entering: int, stage: _Stage, stride: int) -> None:
        super().__init__()
        self._adds = stride == 1 and entering == stage.channels
        wide = entering * stage.widening
        self.conv_pw = nn.Conv2d(entering, wide, 1, bias=False)
        self.bn1: nn.Module = _NormAct(wide, nn.ReLU6(inplace=True))
        self.conv_dw = _depthwise(wide, stage.kernel, stride)
        self.bn2: nn.Module = _NormAct(wide, nn.ReLU6(inplace=True))
        self.conv_pwl = nn.Conv2d(wide, stage.channels, 1, bias=False)
        self.bn3: nn.Module = _NormAct(stage.channels, nn.Identity())

    def forward(self, flow: Tensor) -> Tensor:
        added: Tensor = self.bn3(self.conv_pwl(self.bn2(self.conv_dw(self.bn1(self.conv_pw(flow))))))
        return added + flow if self._adds else added
