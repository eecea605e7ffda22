"""Damage of no particular kind, drawn onto good parts: which way features move under it decides where RADAR looks
(`directions.py`).

It is deliberately no catalogue of defects: a shape (blot, ellipse, line, bite out of the border, wide cloud) filled
with something (another tone, a flat level, rough grain, a smooth smear, a piece of another normal), at any strength
down to invisible. `synthetic.py`, on which choices are checked, is another generator on purpose.

Shapes filled with noise or foreign texture follow DRAEM (arXiv 2108.07610). Networks that were taught on these very
draws overlooked real defects (docs/decisions/0015); a choice of directions is too little to learn them by.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.training.drawn.strokes import crooked, line_through
from pipeline.training.images.data import Frame

Floats = NDArray[np.float32]
Random = np.random.Generator
Shape = Callable[[tuple[int, int], Random], Floats]
"""(height, width) → (H, W), 0 … 1."""
Fill = Callable[[Floats, Frame, Random], Floats]
"""The frame so far and another normal → what stands in the shape, of the frame's size."""
_JUST_VISIBLE = 0.03
"""A change by this share of the frame's mean counts as whole."""
_COLOURFUL = 0.05
"""Channels of a colour frame differ by more than this share of its mean; sensor noise makes them differ by less."""
_SHAPES_EACH = 3


@dataclass(frozen=True)
class Damaged:
    normal: int
    """Which of the normals it was."""
    frame: Frame
    """(H, W) or (H, W, 3), as the normal that it was."""
    strength: Floats
    """(H, W), 0 … 1: where it was changed, and how visibly."""


def damaged_copies(normals: Sequence[Frame], seed: int, count: int) -> Iterator[Damaged]:
    """`count` damaged copies of normals, (H, W) or (H, W, 3) each, drawn evenly from them: of few normals several
    each, of many some. A function of its arguments alone."""
    random = np.random.default_rng(seed)
    for copy in range(count):
        normal = copy * len(normals) // count if len(normals) > count else copy % len(normals)
        yield _damaged(normals, normal, random)


def _damaged(normals: Sequence[Frame], normal: int, random: Random) -> Damaged:
    """One of the normals with a few shapes drawn onto it; pieces are taken from any of them."""
    frame, donor = normals[normal], normals[int(random.integers(len(normals)))]
    whole = frame.astype(np.float32)
    changed, drawn = whole, np.zeros(frame.shape[:2], np.float32)
    for _ in range(_SHAPES_EACH):
        shape = _SHAPES[int(random.integers(len(_SHAPES)))]
        fills, (sharpest, softest) = _FILLS_OF.get(shape, (_FILLS, (0.5, 3.0)))
        mask = np.clip(_smooth(shape(frame.shape[:2], random), random.uniform(sharpest, softest)), 0, 1)
        fill = fills[int(random.integers(len(fills)))](changed, donor, random)
        share = mask if frame.ndim == 2 else mask[..., None]
        changed = changed * (1 - share) + fill * share
        drawn = np.maximum(drawn, mask)
    changed = np.clip(np.round(changed), 0, 255)
    difference = np.abs(changed - whole)
    visible = _smooth(difference if frame.ndim == 2 else _highest(difference), 1.0)
    strength = drawn * np.clip(visible / (_JUST_VISIBLE * whole.mean() + 1), 0, 1)
    return Damaged(normal, changed.astype(np.uint8), strength)


def _blot(shape: tuple[int, int], random: Random) -> Floats:
    size_px = _log_uniform(random, 2, 25)
    stretch = random.uniform(1.5, 6) if random.random() < 0.4 else 1.0
    grain = _grain(
        shape, (size_px, size_px * stretch) if random.random() < 0.5 else (size_px * stretch, size_px), random
    )
    half_y, half_x = random.uniform(0.08, 0.5, 2) * min(shape)
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    y, x = (random.uniform(0, side) for side in shape)
    near = ((rows - y) / half_y) ** 2 + ((columns - x) / half_x) ** 2 < 1
    blot: Floats = ((grain > random.uniform(1.0, 2.2)) & near).astype(np.float32)
    return blot


def _ellipse(shape: tuple[int, int], random: Random) -> Floats:
    rows, columns = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    y, x = (random.uniform(0, side) for side in shape)
    long_px = _log_uniform(random, 2, 80)
    turn, flatness = random.uniform(0, np.pi), random.uniform(0.4, 1)
    along = ((columns - x) * np.cos(turn) + (rows - y) * np.sin(turn)) / long_px
    beside = (-(columns - x) * np.sin(turn) + (rows - y) * np.cos(turn)) / (long_px * flatness)
    distance = along**2 + beside**2
    if random.random() < 0.7:
        distance = distance + random.uniform(0.1, 0.5) * _grain(shape, max(1.0, long_px / random.uniform(2, 5)), random)
    ellipse: Floats = (distance < 1).astype(np.float32)
    return ellipse


def _line(shape: tuple[int, int], random: Random) -> Floats:
    """1 to 4 px wide, from straight to crooked, two in five broken off here and there."""
    height, width = shape
    pieces = int(random.integers(3, 25))
    step_px = random.uniform(0.1, 1.0) * min(shape) / pieces
    angle, bend = random.uniform(0, 2 * np.pi), random.uniform(0.03, 0.6)
    start = random.uniform(0, width), random.uniform(0, height)
    points = crooked(start, angle, bend, pieces, step_px, random)
    line: Floats = line_through(points, int(random.integers(2, 9)), shape).astype(np.float32) / np.float32(255)
    if random.random() < 0.4:
        whole = _grain(shape, random.uniform(2, 10), random) > random.uniform(-1.5, 0)
        line *= whole
    return line


def _bite(shape: tuple[int, int], random: Random) -> Floats:
    """Ragged, at the border."""
    height, width = shape
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    depth, along, length = (
        (rows, columns, width),
        (height - 1 - rows, columns, width),
        (columns, rows, height),
        (width - 1 - columns, rows, height),
    )[int(random.integers(4))]
    reach_along, reach_in = _log_uniform(random, 5, 80), _log_uniform(random, 3, 40)
    distance = ((along - random.uniform(0, length)) / reach_along) ** 2 + (depth / reach_in) ** 2
    ragged = distance + random.uniform(0.1, 0.5) * _grain(shape, random.uniform(2, 8), random)
    bite: Floats = (ragged < 1).astype(np.float32)
    return bite


def _cloud(shape: tuple[int, int], random: Random) -> Floats:
    grain = _grain(shape, (_log_uniform(random, 12, 80), _log_uniform(random, 12, 80)), random)
    cloud: Floats = (grain > random.uniform(0.3, 1.5)).astype(np.float32)
    return cloud


def _tone(frame: Floats, donor: Frame, random: Random) -> Floats:
    """10 to 60 % darker or, two times in five, brighter. Where there is colour, one time in four each channel by a
    share of its own: a stain of another hue may be just as bright."""
    change = random.uniform(0.1, 0.6) * (1 if random.random() < 0.4 else -1)
    if _in_colour(frame) and random.random() < 0.25:
        return frame * np.asarray(1 + change * random.uniform(-1, 1, frame.shape[2]), np.float32)
    return frame * np.float32(1 + change)


def _in_colour(frame: Floats) -> bool:
    """Gray scenes come as RGB, too. Their hue never varies, so a change of it would stand out above all else."""
    if frame.ndim == 2:
        return False
    apart = _highest(frame) + _highest(-frame)
    return float(apart.mean()) > _COLOURFUL * float(frame.mean())


def _highest(frame: Floats) -> Floats:
    """(H, W, 3) → (H, W). numpy's own `max` along so short an axis takes nine times as long."""
    highest: Floats = reduce(np.maximum, np.moveaxis(frame, 2, 0))
    return highest


def _level(frame: Floats, donor: Frame, random: Random) -> Floats:
    grain = _grain_like(frame, random.uniform(0.7, 3), random)
    return np.float32(frame.mean() * random.uniform(0.1, 1.8)) * (1 + np.float32(random.uniform(0, 0.4)) * grain)


def _rough(frame: Floats, donor: Frame, random: Random) -> Floats:
    grain = _grain_like(frame, (random.uniform(0.7, 3), random.uniform(0.7, 8)), random)
    return frame * (1 + np.float32(random.uniform(0.1, 0.4)) * grain + np.float32(random.uniform(-0.3, 0.3)))


def _smear(frame: Floats, donor: Frame, random: Random) -> Floats:
    return _smooth(frame, random.uniform(1.5, 6)) * np.float32(random.uniform(0.8, 1.2))


def _foreign(frame: Floats, donor: Frame, random: Random) -> Floats:
    """A piece of the other normal, turned, at another scale and light."""
    height, width = frame.shape[:2]
    zoom = random.uniform(0.6, 1.6)
    turned = Image.fromarray(donor).rotate(
        90 * int(random.integers(4)) + random.uniform(-15, 15), Image.Resampling.BILINEAR
    )
    size = (max(width, int(turned.width * zoom)), max(height, int(turned.height * zoom)))
    scaled = np.asarray(turned.resize(size, Image.Resampling.BILINEAR), dtype=np.float32)
    top, left = (int(random.integers(0, room + 1)) for room in (scaled.shape[0] - height, scaled.shape[1] - width))
    piece = scaled[top : top + height, left : left + width]
    return piece * np.float32(frame.mean() / (piece.mean() + 1) * random.uniform(0.7, 1.3))


_SHAPES: Sequence[Shape] = (_blot, _ellipse, _line, _line, _bite, _cloud)
"""Lines twice: the thinnest are the hardest."""
_FILLS: Sequence[Fill] = (_tone, _tone, _level, _rough, _smear, _foreign)
_FILLS_OF: Mapping[Shape, tuple[Sequence[Fill], tuple[float, float]]] = {
    _line: ((_tone, _tone, _tone, _tone, _level), (0.4, 0.9)),
    _cloud: ((_tone, _rough, _foreign), (2.0, 10.0)),
}
"""Shape → its fills, and how soft its edges are, in pixels."""


def _log_uniform(random: Random, low: float, high: float) -> float:
    return float(np.exp(random.uniform(np.log(low), np.log(high))))


def _smooth(image: Floats, sigma_px: float) -> Floats:
    from scipy.ndimage import gaussian_filter

    smooth: Floats = gaussian_filter(image, (sigma_px, sigma_px, 0)[: image.ndim])
    return smooth


def _grain_like(frame: Floats, sigma_px: float | tuple[float, float], random: Random) -> Floats:
    grain = _grain(frame.shape[:2], sigma_px, random)
    return grain if frame.ndim == 2 else grain[..., None]


def _grain(shape: tuple[int, ...], sigma_px: float | tuple[float, float], random: Random) -> Floats:
    """Smooth Gaussian noise with mean 0 and deviation 1. Coarse grain is made small and drawn out: smoothing it at full
    size takes most of the time."""
    from scipy.ndimage import gaussian_filter

    sigmas = sigma_px if isinstance(sigma_px, tuple) else (sigma_px, sigma_px)
    coarser = tuple(max(1, int(sigma // 1.5)) for sigma in sigmas)
    small = tuple(-(-side // factor) + 4 for side, factor in zip(shape, coarser, strict=True))
    noise = random.standard_normal(small).astype(np.float32)
    noise = gaussian_filter(noise, [sigma / factor for sigma, factor in zip(sigmas, coarser, strict=True)], mode="wrap")
    if max(coarser) > 1:
        size = (small[1] * coarser[1], small[0] * coarser[0])
        noise = np.asarray(Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC))
    noise = noise[: shape[0], : shape[1]]
    grain: Floats = (noise - noise.mean()) / (noise.std() + 1e-6)
    return grain
