"""Crooked lines, as both generators of damage draw them: `damage.py` and `synthetic.py`."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Point = tuple[float, float]
"""x, y in pixels."""


def crooked(
    start: Point, angle: float, bend: float, steps: int, step_px: float, random: np.random.Generator
) -> list[Point]:
    """Where a walk comes by that turns by a normal deviate of `bend` (radians) before each step."""
    x, y = start
    points = [start]
    for _ in range(steps):
        angle += random.normal(0, bend)
        x, y = x + step_px * np.cos(angle), y + step_px * np.sin(angle)
        points.append((x, y))
    return points


def line_through(points: Sequence[Point], half_pixels: int, shape: tuple[int, int]) -> NDArray[np.uint8]:
    """(H, W) 0 … 255: drawn at double size, so that widths need not be whole pixels."""
    height, width = shape
    drawing = Image.new("L", (2 * width, 2 * height))
    ImageDraw.Draw(drawing).line([(2 * x, 2 * y) for x, y in points], fill=255, width=half_pixels)
    return np.asarray(drawing.resize((width, height), Image.Resampling.BOX))
