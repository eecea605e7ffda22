"""What the cameras of a benchmark see."""

import io
import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.detectors.base import Detector
from pipeline.frames import decode
from pipeline.training.images.elpv import lay_out

CELL_PX = 300
_AT_ONCE = 16


@dataclass(frozen=True)
class Mixed:
    """Cells by what a detector says of them, whatever they are."""

    good: tuple[Path, ...]
    bad: tuple[Path, ...]

    def in_turns(self, start: int) -> Iterator[Path]:
        """Good, bad, good, bad …, all of both; another `start` begins elsewhere."""
        pairs = min(len(self.good), len(self.bad))
        for number in range(pairs):
            yield self.good[(start + number) % len(self.good)]
            yield self.bad[(start + number) % len(self.bad)]


def solar_cells(folder: Path, count: int) -> list[bytes]:
    """PNGs of the ELPV demo: real photographs, 300 × 300 gray, some 28 KB each."""
    cells = folder / "cells"
    lay_out(cells)
    return [path.read_bytes() for path in sorted((cells / "mono" / "train" / "good").glob("*.png"))[:count]]


def mixed_cells(folder: Path, detector: Detector, of_each: int) -> Mixed:
    """Photographs that this detector calls OK, and as many that it calls NOT_OK. Raises RuntimeError if it finds too
    few."""
    lay_out(folder / "cells")
    judged: dict[bool, list[Path]] = {False: [], True: []}
    for kind in ("good", "defective"):
        paths = iter(sorted((folder / "cells" / "mono" / "test" / kind).glob("*.png")))
        wanted_bad = kind == "defective"
        while len(judged[wanted_bad]) < of_each and (some := list(itertools.islice(paths, _AT_ONCE))):
            pixels = np.stack([decode(path.read_bytes(), detector.info.input.mode) for path in some])
            for path, score in zip(some, detector.predict(pixels).scores, strict=True):
                judged[bool(score >= detector.info.calibration.threshold)].append(path)
    if min(map(len, judged.values())) < of_each:
        raise RuntimeError(
            f"wanted {of_each} cells of each verdict, found {len(judged[False])} and {len(judged[True])}"
        )
    return Mixed(tuple(judged[False][:of_each]), tuple(judged[True][:of_each]))


def tiny_pictures(count: int) -> list[bytes]:
    """Gray PNGs of noise, 32 × 32 px."""
    random_pixels = np.random.default_rng(1)
    return [_png(random_pixels.integers(0, 256, (32, 32), dtype=np.uint8)) for _ in range(count)]


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
