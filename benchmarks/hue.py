"""RADAR's projection in colour: stains as bright as what is around them, of another hue.

    andon dataset elpv --out cells
    python -m benchmarks.hue --data cells/mono cells/poly

No set of real defects in colour is at hand. So gray cells are given a tint that differs a little from cell to cell, and
normals that nothing was fitted on are given round stains and, whole, another hue. Beside them stand the real defects of
validation/defective, tinted alike: what hue gains must not cost them. Untrained network, as in `real_defects`. Prints a
Markdown table of image AUROC.
"""

import argparse
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.real_defects import Cells, Frames, Seer, auroc, encoded, frames_of, scored
from pipeline.detectors.radar.config import RadarConfig
from pipeline.training.images.data import Frame

_TINT = np.array([1.0, 0.85, 0.6])
_WEIGHTS = np.array([0.299, 0.587, 0.114])
"""What each channel adds to brightness (ITU-R BT.601)."""
_BRIGHTNESS = 0.85
_TINT_DEVIATION = 0.01
_NOISE = 1.5
"""Gray levels of each channel's own noise."""
_TURNS = (0.03, 0.06)
"""Red falls by this share, and blue rises by twice as much."""
_RADII_PX = (6, 20, 70, None)
"""Of stains; None: the whole part."""


def tinted(frame: Frame, random: np.random.Generator) -> Frame:
    """(H, W) → (H, W, 3)."""
    tint = _as_bright(_TINT * (1 + random.normal(0, _TINT_DEVIATION, 3)))
    return _to_frame(frame[..., None] * tint * _BRIGHTNESS + random.normal(0, _NOISE, (*frame.shape, 3)))


def stained(frame: Frame, radius_px: int | None, turn: float, random: np.random.Generator) -> Frame:
    """(H, W, 3) with one soft round stain of another hue and the same brightness, or all of it so. The part keeps its
    own tint and noise: a turn of 0 changes nothing."""
    turned = frame * (1 - turn, 1, 1 + 2 * turn)
    turned *= ((frame @ _WEIGHTS) / np.maximum(turned @ _WEIGHTS, 1e-9))[..., None]
    share = _disc(frame.shape[:2], radius_px, random)[..., None] if radius_px else 1.0
    return _to_frame(frame * (1 - share) + turned * share)


def _disc(shape: tuple[int, ...], radius_px: int, random: np.random.Generator) -> NDArray[np.float64]:
    from scipy.ndimage import gaussian_filter

    rows, columns = np.ogrid[: shape[0], : shape[1]]
    y, x = (random.uniform(0.2, 0.8) * side for side in shape)
    inside = ((rows - y) ** 2 + (columns - x) ** 2 < radius_px**2).astype(np.float64)
    soft: NDArray[np.float64] = gaussian_filter(inside, 2)
    return soft


def _as_bright(tint: NDArray[np.float64]) -> NDArray[np.float64]:
    brought: NDArray[np.float64] = tint / (tint @ _WEIGHTS)
    return brought


def _to_frame(values: NDArray[np.float64]) -> Frame:
    return np.clip(np.round(values), 0, 255).astype(np.uint8)


def all_tinted(frames: Frames, random: np.random.Generator) -> Frames:
    def tint(part: list[Frame]) -> list[Frame]:
        return [tinted(frame, random) for frame in part]

    return Frames(*(tint(getattr(frames, part.name)) for part in fields(frames)))


def told_apart(cells: Cells) -> float:
    return auroc(scored(RadarConfig.in_features(), cells)["forest"])


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="cells/mono, cells/poly")
    for folder in parser.parse_args().data:
        random, see = np.random.default_rng(0), Seer(RadarConfig.in_features())
        frames = all_tinted(frames_of(folder), random)
        cells = encoded(frames, see)
        stained_too = frames.normals[::2]
        print(f"\n{folder.name}: {len(frames.normals)} normals, {len(frames.defects)} real defects")
        print("| | another hue by 3 % | by 6 % |\n|---|---|---|")
        for radius_px in _RADII_PX:
            name = f"stain of {radius_px} px radius" if radius_px else "the whole part"
            stains = [[see(stained(one, radius_px, turn, random)) for one in stained_too] for turn in _TURNS]
            found = " | ".join(f"{told_apart(replace(cells, defects=part)):.3f}" for part in stains)
            print(f"| {name} | {found} |", flush=True)
        print(f"| real defects, any | {told_apart(cells):.3f} | |", flush=True)


if __name__ == "__main__":
    main()
