"""The noise predictor: a small U-Net with attention whose every output depends on its neighbourhood alone.

diffusers' U-Net was used before. Its group normalisation and its global attention see the frame as a whole: trained on
patches, it met other statistics in every larger frame, and a frame scored in tiles got other values than in one piece.
Here normalisation is over the channels of one position, attention over the 7 × 7 positions around, and borders repeat.
A frame of any size is then one pass without seams, and tiles that overlap far enough merge to exactly that pass.
"""

import math
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from pipeline.detectors.radar.border import closeness
from pipeline.detectors.radar.config import RadarConfig
from pipeline.detectors.radar.preprocess import pad_to_stride

_TIME_WAVES = 8
_TIME_CHANNELS = 64
_HEADS = 4
_WINDOW = 7
_MOST_GATHERED = 64 * 1024 * 1024
"""Values, 256 MB. In larger passes each kernel has enough to do, however many there are."""
_BORDERS = 4
_NORM_EPS = 1e-5


class NoisePredictor(nn.Module):
    """(N, C, h, w) noisy frames, (N,) timesteps and (N, 4, h, w) closeness to the borders → (N, C, h, w) predicted
    noise.

    The answer starts as √(1 − ᾱ_t)·x_t, the best linear guess for white data: an untrained network measures distance
    as a plain Gaussian would (Mahalanobis, when its input is whitened), and what is learnt is how normals differ from
    that. h, w are multiples of `RadarConfig.stride_px`.
    """

    def __init__(self, config: RadarConfig, image_channels: int) -> None:
        super().__init__()
        self.fold = config.fold
        folded = image_channels * config.fold**2
        self.register_buffer("noise_share", (1 - cumulative_alphas(config)).sqrt(), persistent=False)
        self.time = nn.Sequential(
            nn.Linear(2 * _TIME_WAVES, _TIME_CHANNELS), nn.SiLU(), nn.Linear(_TIME_CHANNELS, _TIME_CHANNELS), nn.SiLU()
        )
        widths = config.channels
        self.enter = nn.Conv2d(folded + _BORDERS, widths[0], 1)
        self.down = nn.ModuleList(_Block(width, width) for width in widths[:-1])
        self.shrink = nn.ModuleList(nn.Conv2d(here, below, 2, stride=2) for here, below in pairwise(widths))
        self.bottom = nn.ModuleList([_Block(widths[-1], widths[-1]), _Attention(widths[-1]), _Block(*widths[-1:] * 2)])
        self.grow = nn.ModuleList(nn.Conv2d(below, here, 1) for here, below in pairwise(widths))
        self.up = nn.ModuleList(_Block(2 * width, width) for width in widths[:-1])
        self.leave_norm = _Norm(widths[0])
        self.leave = nn.Conv2d(widths[0], folded, 1)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)  # type: ignore[arg-type]
        self.to(memory_format=torch.channels_last)

    def forward(self, noisy: Tensor, timesteps: Tensor, borders: Tensor) -> Tensor:
        folded = functional.pixel_unshuffle(noisy, self.fold) if self.fold > 1 else noisy
        borders = functional.avg_pool2d(borders, self.fold) if self.fold > 1 else borders
        noise_share: Tensor = self.noise_share[timesteps].view(-1, 1)  # type: ignore[index]
        moment = self.time(_waves(noise_share))
        flow = self.enter(as_channels_last(torch.cat([folded, borders], dim=1)))
        passed = []
        for block, shrink in zip(self.down, self.shrink, strict=True):
            flow = block(flow, moment)
            passed.append(flow)
            flow = shrink(flow)
        for part in self.bottom:
            flow = part(flow, moment)
        for block, grow, beside in zip(reversed(self.up), reversed(self.grow), reversed(passed), strict=True):
            flow = functional.interpolate(grow(flow), scale_factor=2, mode="nearest")
            flow = block(torch.cat([flow, beside], dim=1), moment)
        learnt = self.leave(functional.silu(self.leave_norm(flow)))
        predicted = learnt + folded * noise_share[..., None, None]
        return functional.pixel_shuffle(predicted, self.fold) if self.fold > 1 else predicted


def predict(network: NoisePredictor, noisy: Tensor, timesteps: Tensor, config: RadarConfig) -> Tensor:
    """(N, C, h, w) whole frames of any size → (N, C, h, w) predicted noise."""
    height, width = noisy.shape[-2:]
    borders = closeness(height, width, config.ring_cells).to(noisy.device).expand(len(noisy), -1, -1, -1)
    padded, borders = (pad_to_stride(part, config.stride_px) for part in (noisy, borders))
    predicted: Tensor = network(padded, timesteps, borders)
    return predicted[..., :height, :width].contiguous()


class _Norm(nn.Module):
    """Layer normalisation over the channels of each position."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        if torch.compiler.is_exporting():
            return self._by_convolutions(x)
        positions = functional.layer_norm(x.permute(0, 2, 3, 1), self.weight.shape, self.weight, self.bias, _NORM_EPS)
        return positions.permute(0, 3, 1, 2)

    def _by_convolutions(self, x: Tensor) -> Tensor:
        """The same where channels are not last in memory: an engine would turn the maps round twice for each norm
        (the network takes OpenVINO 13.4 ms so and 10.8 this way, ONNX Runtime 11.1 and 11.4; 256 px)."""
        mean_of = x.new_full((1, x.shape[1], 1, 1), 1 / x.shape[1])
        centred = x - functional.conv2d(x, mean_of)
        variance = functional.conv2d(centred.square(), mean_of)
        scaled = centred * torch.rsqrt(variance + _NORM_EPS)
        return scaled * self.weight[:, None, None] + self.bias[:, None, None]


class _Block(nn.Module):
    """A residual block; the timestep scales and shifts its middle. It starts as the identity (or a projection)."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.norm_in = _Norm(channels_in)
        self.conv_in = nn.Conv2d(channels_in, channels_out, 3)
        self.time = nn.Linear(_TIME_CHANNELS, 2 * channels_out)
        self.norm_out = _Norm(channels_out)
        self.conv_out = nn.Conv2d(channels_out, channels_out, 3)
        nn.init.zeros_(self.conv_out.weight)
        self.skip = nn.Identity() if channels_in == channels_out else nn.Conv2d(channels_in, channels_out, 1)

    def forward(self, x: Tensor, moment: Tensor) -> Tensor:
        scale, shift = self.time(moment)[:, :, None, None].chunk(2, dim=1)
        inner = self.conv_in(_repeat_border(functional.silu(self.norm_in(x)), 1))
        inner = self.norm_out(inner) * (1 + scale) + shift
        through: Tensor = self.skip(x) + self.conv_out(_repeat_border(functional.silu(inner), 1))
        return through


class _Attention(nn.Module):
    """Self-attention of each position to the 7 × 7 around it, with a learnt bias for each offset."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = _Norm(channels)
        self.ask = nn.Conv2d(channels, 3 * channels, 1)
        self.offsets = nn.Parameter(torch.zeros(_HEADS, _WINDOW**2))
        self.answer = nn.Conv2d(channels, channels, 1)
        nn.init.zeros_(self.answer.weight)

    def forward(self, x: Tensor, moment: Tensor) -> Tensor:
        n, channels, height, width = x.shape
        query, key, value = self.ask(self.norm(x)).chunk(3, dim=1)
        per_head = channels // _HEADS
        heads = (n, _HEADS, per_head, height, width)
        query = query.reshape(heads) / math.sqrt(per_head)
        keys, values = (_repeat_border(part, _WINDOW // 2) for part in (key, value))
        gather = x.is_cuda and x.numel() * _WINDOW**2 <= _MOST_GATHERED
        attended = (self.by_windows if gather else self.by_offsets)(query, keys, values)
        through: Tensor = x + self.answer(attended.reshape(n, channels, height, width))
        return through

    def by_offsets(self, query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """query (n, heads, c, h, w), keys and values (n, heads · c, h + 6, w + 6) → as query. One offset after the
        other: on a CPU it is slower to gather all windows first, which copies 49 times as much."""
        height, width = query.shape[-2:]

        def seen(part: Tensor) -> Iterator[Tensor]:
            whole = part.reshape(*query.shape[:3], *part.shape[-2:])
            for down in range(_WINDOW):
                rows = whole[..., down : down + height, :]
                for across in range(_WINDOW):
                    yield rows[..., across : across + width]

        weights = torch.stack([(query * key).sum(dim=2) for key in seen(keys)], dim=2)
        weights = (weights + self.offsets[None, :, :, None, None]).softmax(dim=2)
        found = torch.zeros_like(query)
        for weight, value in zip(torch.split(weights, 1, dim=2), seen(values), strict=True):
            found = found + weight * value
        return found

    def by_windows(self, query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """The same in a dozen kernels in place of some 300, which is what takes the time on a GPU."""
        seen, shown = (
            part.unfold(2, _WINDOW, 1).unfold(3, _WINDOW, 1).reshape(*query.shape, _WINDOW**2)
            for part in (keys, values)
        )
        weights = (query[..., None] * seen).sum(dim=2) + self.offsets[:, None, None]
        found: Tensor = (weights.softmax(dim=-1)[:, :, None] * shown).sum(dim=-1)
        return found


def _repeat_border(x: Tensor, width: int) -> Tensor:
    """Repeats the outermost rows and columns so many times; several times as fast as torch's own on channels-last."""
    above, below = x[:, :, :1].expand(-1, -1, width, -1), x[:, :, -1:].expand(-1, -1, width, -1)
    x = torch.cat([above, x, below], dim=2)
    left, right = x[..., :1].expand(-1, -1, -1, width), x[..., -1:].expand(-1, -1, -1, width)
    return torch.cat([left, x, right], dim=3)


def _waves(noise_share: Tensor) -> Tensor:
    """(N, 1) √(1 − ᾱ) → (N, 16): sines and cosines of the logarithm of the noise-to-signal ratio."""
    ratio = (noise_share / (1 - noise_share.square()).clamp(min=1e-6).sqrt()).clamp(min=1e-3).log()
    angles = 4 * ratio * torch.exp(-0.5 * torch.arange(_TIME_WAVES, device=ratio.device))
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def as_channels_last(images: Tensor) -> Tensor:
    """Channels-last memory, which convolves faster on CPUs. With one channel torch cannot tell the formats apart and
    would take the slow one, so the strides are set by hand."""
    if torch.compiler.is_exporting():
        return images  # a graph for another engine, which has formats of its own
    images = images.contiguous(memory_format=torch.channels_last)
    n, c, h, w = images.shape
    return images.as_strided((n, c, h, w), (h * w * c, 1, w * c, c))


def load_weights(network: NoisePredictor, tensors: Mapping[str, NDArray[Any]]) -> None:
    """Fills the network from arrays named as in its state dict. Raises RuntimeError on a missing or a foreign name."""
    network.load_state_dict({name: torch.from_numpy(array) for name, array in tensors.items()})


def cumulative_alphas(config: RadarConfig) -> Tensor:
    """(train_timesteps,): the share of signal variance left at each timestep, ᾱ_t of DDPM (arXiv 2006.11239, eq. 4).

    The schedules of diffusers' DDPMScheduler, to the bit (a test compares them): importing it takes longer than loading
    a whole bundle, and every replica would wait for it.
    """
    return torch.cumprod(1 - _betas(config), dim=0)


def _betas(config: RadarConfig) -> Tensor:
    """(train_timesteps,): the variance that each step adds."""
    steps, least, most = config.train_timesteps, 1e-4, 0.02
    if config.beta_schedule == "linear":
        return torch.linspace(least, most, steps)
    if config.beta_schedule == "scaled_linear":
        return torch.linspace(least**0.5, most**0.5, steps) ** 2

    def signal(time: float) -> float:
        return math.cos((time + 0.008) / 1.008 * math.pi / 2) ** 2

    return torch.tensor([min(1 - signal((i + 1) / steps) / signal(i / steps), 0.999) for i in range(steps)])
