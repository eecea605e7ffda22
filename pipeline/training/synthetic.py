"""Defects of our own making, pasted onto normals: what hyper-parameters are chosen on, so that no real defect is spent.

They are crude on purpose, and they are no promise about real defects. They only have to rank choices.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

Frame = NDArray[np.uint8]
_SMALLEST_SIDE = 16


def with_defect(frame: Frame, donor: Frame, random: np.random.Generator) -> Frame:
    """A copy of gray (H, W) `frame` with one defect of a random kind; `donor` is another normal of the same size."""
    kind = KINDS[int(random.integers(len(KINDS)))]
    return kind(frame, donor, random)


def scratch(frame: Frame, donor: Frame, random: np.random.Generator) -> Frame:
    """A thin crooked line that takes away 10 to 50 % of the light: a crack."""
    height, width = frame.shape
    steps = int(random.integers(2, 6))
    angle = random.uniform(0, 2 * np.pi)
    length = random.uniform(0.15, 0.8) * min(height, width) / steps
    x, y = random.uniform(0.1, 0.9) * width, random.uniform(0.1, 0.9) * height
    points = [(x, y)]
    for _ in range(steps):
        angle += random.normal(0, 0.4)
        x, y = x + length * np.cos(angle), y + length * np.sin(angle)
        points.append((x, y))
    return _shade(
        frame, lambda draw: draw.line(points, fill=255, width=int(random.integers(1, 4))), 0.8, random.uniform(0.1, 0.5)
    )


def blob(frame: Frame, donor: Frame, random: np.random.Generator) -> Frame:
    """A soft dark spot that takes away 15 to 70 % of the light: dirt or an inactive region."""
    height, width = frame.shape
    x, y = random.uniform(0, width), random.uniform(0, height)
    rx, ry = random.uniform(0.02, 0.12, size=2) * min(height, width)
    return _shade(
        frame, lambda draw: draw.ellipse((x - rx, y - ry, x + rx, y + ry), fill=255), 2.0, random.uniform(0.15, 0.7)
    )


def shard(frame: Frame, donor: Frame, random: np.random.Generator) -> Frame:
    """A triangle with hard edges, darker by 10 to 60 %: a piece that has lost its contact."""
    height, width = frame.shape
    centre = random.uniform(0.1, 0.9, size=2) * (width, height)
    corners = centre + random.normal(0, 0.12, size=(3, 2)) * (width, height)
    points = [(float(x), float(y)) for x, y in corners]
    return _shade(frame, lambda draw: draw.polygon(points, fill=255), _focus(random), random.uniform(0.1, 0.6))


def stripes(frame: Frame, donor: Frame, random: np.random.Generator) -> Frame:
    """A few parallel dark lines: interrupted grid fingers."""
    height, width = frame.shape
    x, y = random.uniform(0, 0.8) * width, random.uniform(0, 0.8) * height
    gap, length = random.uniform(0.015, 0.05) * width, random.uniform(0.08, 0.3) * height
    count = int(random.integers(3, 9))

    def draw_all(draw: ImageDraw.ImageDraw) -> None:
        for index in range(count):
            draw.line([(x + index * gap, y), (x + index * gap, y + length)], fill=255, width=2)

    return _shade(frame, draw_all, _focus(random), random.uniform(0.1, 0.45))


def cut_paste(frame: Frame, donor: Frame, random: np.random.Generator) -> Frame:
    """A rectangle of another normal in the wrong place (CutPaste, arXiv 2104.04015)."""
    height, width = frame.shape
    h, w = (max(4, int(random.uniform(0.06, 0.25) * side)) for side in (height, width))
    from_y, to_y = random.integers(0, height - h, size=2)
    from_x, to_x = random.integers(0, width - w, size=2)
    damaged = frame.copy()
    damaged[to_y : to_y + h, to_x : to_x + w] = donor[from_y : from_y + h, from_x : from_x + w]
    return damaged


def _focus(random: np.random.Generator) -> float:
    """How far the optics smear an edge, in pixels. Edges sharper than real ones would favour detectors of noise."""
    return float(random.uniform(1.2, 3.0))


def _shade(frame: Frame, draw: Callable[[ImageDraw.ImageDraw], object], blur_px: float, absorbed: float) -> Frame:
    """Multiplies the light by 1 − absorbed where `draw` paints white, with edges as soft as the optics' blur."""
    if min(frame.shape) < _SMALLEST_SIDE:
        raise ValueError(f"synthetic defects need frames of at least {_SMALLEST_SIDE} px, not {frame.shape}")
    mask = Image.new("L", (frame.shape[1], frame.shape[0]))
    draw(ImageDraw.Draw(mask))
    soft = np.asarray(mask.filter(ImageFilter.GaussianBlur(blur_px)), dtype=np.float64) / 255
    return np.clip(np.round(frame * (1 - absorbed * soft)), 0, 255).astype(np.uint8)


KINDS = (scratch, blob, shard, stripes, cut_paste)


def synthetic_defects(normals: Frame, per_normal: int, seed: int) -> Frame:
    """(N, H, W) gray normals → (N × per_normal, H, W), each with one defect. A function of its arguments alone."""
    random = np.random.default_rng(seed)
    return np.stack(
        [
            with_defect(frame, normals[int(random.integers(len(normals)))], random)
            for frame in normals
            for _ in range(per_normal)
        ]
    )
