"""What the cameras of a benchmark see."""

import io
import random
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.training.elpv import lay_out

CELL_PX = 300


def solar_cells(folder: Path, count: int) -> list[bytes]:
    """PNGs of the ELPV demo: real photographs, 300 × 300 gray, some 28 KB each."""
    cells = folder / "cells"
    lay_out(cells)
    return [path.read_bytes() for path in sorted((cells / "mono" / "train" / "good").glob("*.png"))[:count]]


def tiny_pictures(count: int, side_px: int = 32) -> list[bytes]:
    """Gray PNGs of noise."""
    random_pixels = np.random.default_rng(1)
    return [_png(random_pixels.integers(0, 256, (side_px, side_px), dtype=np.uint8)) for _ in range(count)]


def opaque_files(folder: Path, count: int, size_bytes: int) -> Path:
    """Random bytes that are named like JPEGs: whoever replays a folder never looks inside. Returns the folder."""
    folder.mkdir(parents=True)
    seeded = random.Random(1)
    for number in range(count):
        (folder / f"{number:06d}.jpg").write_bytes(seeded.randbytes(size_bytes))
    return folder


def _png(pixels: "np.typing.NDArray[np.uint8]") -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()
