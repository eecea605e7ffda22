"""Defects of our own making, put onto normals: what hyper-parameters are chosen on, so that no real defect is spent.

They are no promise about real defects. They only have to rank choices, so they come in the kinds that surfaces have:
thin (cracks, scratches), small and deep (holes), at the border (breaks), of texture (fray), of light (uneven), and out
of place (cut and paste). Each is as faint at times as real ones are.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from pipeline.training.drawn.strokes import crooked, line_through
from pipeline.training.images.data import Frame

_SMALLEST_SIDE = 16
_MARKED = 0.3
"""Where more than this share of the defect's full strength has been put, the mask is set."""
Floats = NDArray[np.float64]
Random = np.random.Generator


@dataclass(frozen=True)
class Defect:
    frame: Frame
    """(H, W) gray."""
    mask: NDArray[np.bool_]
    """(H, W): where it was damaged."""
    kind: str
    """A key of KINDS."""


def crack(frame: Frame, donor: Frame, random: Random) -> tuple[Floats, Floats]:
    """A thin crooked line, 1 to 2.5 px wide, that takes away 25 to 60 % of the light."""
    line = _line(frame, random, random.uniform(0.15, 0.8), random.uniform(1, 2.5), bend=0.35)
    return frame * (1 - random.uniform(0.25, 0.6) * line), line


def scratch(frame: Frame, donor: Frame, random: Random) -> tuple[Floats, Floats]:
    """A nearly straight line that gleams, 20 to 60 % brighter."""
    line = _line(frame, random, random.uniform(0.2, 0.8), random.uniform(1, 3), bend=0.1)
    return frame * (1 + random.uniform(0.2, 0.6) * line), line


def hole(frame: Frame, donor: Frame, random: Random) -> tuple[Floats, Floats]:
    """One or two small dark pits of 2.5 to 9 px, often with a rim that catches the light on one side."""
    damaged, whole = frame.astype(np.float64), np.zeros(frame.shape)
    for _ in range(int(random.integers(1, 3))):
        y, x = (random.uniform(0.05, 0.95) * side for side in frame.shape)
        across, _, distance = _ellipse(frame.shape, y, x, random.uniform(2.5, 9), random.uniform(0.6, 1), random)
        distance = distance + 0.15 * _grain(frame.shape, 3, random)
        pit = _soft(distance < 1, 0.8)
        rim = np.exp(-(((distance - 1.15) / 0.2) ** 2)) * (0.5 + 0.5 * np.clip(across, -1, 1))
        damaged = damaged * (1 - random.uniform(0.3, 0.7) * pit) * (1 + random.uniform(0, 0.3) * rim)
        whole = np.maximum(whole, pit)
    return damaged, whole


def broken(frame: Frame, donor: Frame, random: Random) -> tuple[Floats, Floats]:
    """A ragged piece of 16 to 90 px missing, mostly from the border, darker or brighter than the part."""
    height, width = frame.shape
    rows, columns = np.mgrid[:height, :width].astype(np.float64)
    depth, along, length, room = (
        (rows, columns, width, height),
        (height - 1 - rows, columns, width, height),
        (columns, rows, height, width),
        (width - 1 - columns, rows, height, width),
    )[int(random.integers(4))]
    if random.random() < 0.3:
        depth = np.abs(depth - random.uniform(0.1, 0.5) * room)
    reach_along, reach_in = random.uniform(12, 45), random.uniform(8, 30)
    distance = ((along - random.uniform(0.1, 0.9) * length) / reach_along) ** 2 + (depth / reach_in) ** 2
    piece = _soft(distance + 0.35 * _grain(frame.shape, 5, random) < 1, 0.8)
    level = frame.mean() * (random.uniform(0.1, 0.6) if random.random() < 0.7 else random.uniform(1.2, 1.7))
    filling = level * (1 + random.uniform(0.1, 0.4) * _grain(frame.shape, random.uniform(1, 3), random))
    share = piece * random.uniform(0.5, 1)
    return frame * (1 - share) + np.clip(filling, 0, 255) * share, piece


def fray(frame: Frame, donor: Frame, random: Random) -> tuple[Floats, Floats]:
    """A patch whose texture is rougher than that around, and a little darker or brighter."""
    patch = _soft(_patch(frame, random, 0.1, 0.4), 2)
    fine = _grain(frame.shape, random.uniform(0.8, 2), random)
    streaks = _grain(frame.shape, (random.uniform(0.8, 2), random.uniform(2, 8)), random)
    roughness = random.uniform(0.05, 0.25) * fine + random.uniform(0.05, 0.25) * np.maximum(streaks, 0)
    return frame * (1 + patch * (roughness + random.uniform(-0.2, 0.3))), patch


def uneven(frame: Frame, donor: Frame, random: Random) -> tuple[Floats, Floats]:
    """A wide region, 20 to 50 % darker or brighter with soft edges, at times with streaks."""
    patch = _soft(_patch(frame, random, 0.15, 0.6), random.uniform(3, 8))
    change = random.uniform(0.2, 0.5) * (1 if random.random() < 0.5 else -1)
    streaks = _grain(frame.shape, (1, 25) if random.random() < 0.5 else (25, 1), random)
    return frame * (1 + patch * (change + random.uniform(0, 0.15) * streaks)), patch


def cut_paste(frame: Frame, donor: Frame, random: Random) -> tuple[Floats, Floats]:
    """A rectangle of another normal in the wrong place, half of them turned (CutPaste, arXiv 2104.04015)."""
    shortest = min(*frame.shape, *donor.shape)
    h, w = (max(4, int(random.uniform(0.06, 0.25) * shortest)) for _ in range(2))
    from_y, from_x = (int(random.integers(0, side - size)) for side, size in zip(donor.shape, (h, w), strict=True))
    to_y, to_x = (int(random.integers(0, side - size)) for side, size in zip(frame.shape, (h, w), strict=True))
    piece = Image.fromarray(donor[from_y : from_y + h, from_x : from_x + w])
    if random.random() < 0.5:
        piece = piece.transpose(Image.Transpose.ROTATE_90).resize((w, h))
    damaged, where = frame.astype(np.float64), np.zeros(frame.shape)
    damaged[to_y : to_y + h, to_x : to_x + w] = np.asarray(piece)
    where[to_y : to_y + h, to_x : to_x + w] = 1
    return damaged, where


KINDS: Mapping[str, Callable[[Frame, Frame, Random], tuple[Floats, Floats]]] = {
    "crack": crack,
    "scratch": scratch,
    "hole": hole,
    "broken": broken,
    "fray": fray,
    "uneven": uneven,
    "cut_paste": cut_paste,
}


def with_defect(frame: Frame, donor: Frame, kind: str, random: Random) -> Defect:
    """A copy of gray (H, W) `frame` with one defect; `donor` is another normal, of any size. Raises ValueError for
    frames too small to be damaged in part."""
    if min(frame.shape) < _SMALLEST_SIDE:
        raise ValueError(f"synthetic defects need frames of at least {_SMALLEST_SIDE} px, not {frame.shape}")
    damaged, strength = KINDS[kind](frame, donor, random)
    return Defect(np.clip(np.round(damaged), 0, 255).astype(np.uint8), strength > _MARKED, kind)


def drawn_defects(normals: Sequence[Frame], per_normal: int, seed: int) -> Iterator[Defect]:
    """`per_normal` copies of each gray (H, W) normal with one defect each, the kinds in turn. A function of its
    arguments alone."""
    random = np.random.default_rng(seed)
    kinds = list(KINDS)
    for position, frame in enumerate(normals):
        for copy in range(per_normal):
            donor = normals[int(random.integers(len(normals)))]
            yield with_defect(frame, donor, kinds[(position * per_normal + copy) % len(kinds)], random)


def _line(frame: Frame, random: Random, length: float, width_px: float, bend: float) -> Floats:
    """(H, W) 0 … 1: a crooked line, its length in shares of the shorter side, as soft as optics leave it."""
    height, width = frame.shape
    steps = int(random.integers(4, 12))
    step_px = length * min(height, width) / steps
    angle = random.uniform(0, 2 * np.pi)
    start = random.uniform(0.1, 0.9) * width, random.uniform(0.1, 0.9) * height
    points = crooked(start, angle, bend, steps, step_px, random)
    sharp = line_through(points, max(1, round(2 * width_px)), (height, width)) > 96
    return np.minimum(1.3 * _soft(sharp, random.uniform(0.5, 0.9)), 1)


def _patch(frame: Frame, random: Random, least: float, most: float) -> NDArray[np.bool_]:
    """A ragged ellipse anywhere, its half-axes in shares of the shorter side."""
    y, x = (random.uniform(0, 1) * side for side in frame.shape)
    half_x, half_y = random.uniform(least, most, size=2) * min(frame.shape)
    rows, columns = np.mgrid[: frame.shape[0], : frame.shape[1]]
    distance = ((columns - x) / half_x) ** 2 + ((rows - y) / half_y) ** 2
    ragged: NDArray[np.bool_] = distance + 0.4 * _grain(frame.shape, 8, random) < 1
    return ragged


def _ellipse(
    shape: tuple[int, ...], y: float, x: float, half_px: float, flatness: float, random: Random
) -> tuple[Floats, Floats, Floats]:
    """Coordinates along both axes of a turned ellipse, 1 on its outline, and the distance that they make."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    turn = random.uniform(0, np.pi)
    along = ((columns - x) * np.cos(turn) + (rows - y) * np.sin(turn)) / half_px
    beside = (-(columns - x) * np.sin(turn) + (rows - y) * np.cos(turn)) / (half_px * flatness)
    return along, beside, np.hypot(along, beside)


def _grain(shape: tuple[int, ...], sigma_px: float | tuple[float, float], random: Random) -> Floats:
    """Gaussian noise smoothed over so many pixels (along rows and columns), with mean 0 and deviation 1."""
    from scipy.ndimage import gaussian_filter

    smooth = gaussian_filter(random.normal(size=shape), sigma_px, mode="reflect")
    grain: Floats = (smooth - smooth.mean()) / (smooth.std() + 1e-9)
    return grain


def _soft(shape: NDArray[np.bool_], blur_px: float) -> Floats:
    """0 … 1, with edges as soft as the optics' blur: sharper ones would favour detectors of sharpness."""
    blurred = Image.fromarray(shape.astype(np.uint8) * 255).filter(ImageFilter.GaussianBlur(blur_px))
    return np.asarray(blurred, dtype=np.float64) / 255
