"""What RADAR's network is taught from: normals and what structured noise made of them, patch by patch.

A patch of the corrupted frame, as the front sees it, is what the network is shown; the same patch of the frame before
is what it should have seen; the difference is the noise.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from pipeline.detectors.radar.border import closeness
from pipeline.detectors.radar.config import STRIDE_PX, RadarConfig
from pipeline.detectors.radar.front import Front
from pipeline.training.corruption import Floats, corrupt
from pipeline.training.data import Frame

OnFrame = Callable[[int, int], None]
"""Told how many frames of how many are done."""
_MOST_SHAPES = 5
_BRIGHTNESS = (0.75, 1.3)
_DAMAGED = 0.25
"""Cells with more than this strength count as noise."""
_USUAL_CELLS = 24.0
_LEAST_WEIGHT = 0.3
_CLEAN_PATCHES = 0.6
"""Patches without any noise in them are kept this often: most of every frame is clean."""


@dataclass(frozen=True)
class Lessons:
    """P patches of `patch_px` a side."""

    seen: Tensor
    """(P, C, s, s), half precision: they are many. As the front sees the corrupted frame."""
    clean: Tensor
    """The same of the frame before."""
    borders: Tensor
    """(P, 4, s, s): see `closeness`."""
    weight: Tensor
    """(P, s, s): small shapes count more for each cell, or a pinhole would not count beside a cloud."""

    def __len__(self) -> int:
        return len(self.seen)

    def pick(self, indices: Tensor, device: torch.device) -> "Lessons":
        return Lessons(*(getattr(self, one.name)[indices].float().to(device) for one in fields(self)))


def prepare_lessons(
    front: Front,
    frames: Sequence[Frame],
    config: RadarConfig,
    seed: int,
    copies: int,
    most_patches: int,
    device: torch.device,
    on_frame: OnFrame = lambda done, total: None,
) -> Lessons:
    """Each normal, mirrored and lit at random, corrupted in `copies` ways. Memory is bounded by `most_patches`,
    shared out evenly. A function of its arguments. Raises ValueError when there is no frame."""
    if not frames:
        raise ValueError("lessons are drawn from at least one frame")
    side = config.patch_px // config.scale
    share = max(1, most_patches // (len(frames) * copies))
    parts: list[Lessons] = []
    for number, frame in enumerate(frames):
        random = np.random.default_rng((seed, number))
        normal = _varied(frame, random)
        clean = _seen(front, normal, device)
        height, width = clean.shape[1:]
        borders = closeness(height, width, config.ring_cells)
        for _ in range(copies):
            donor = frames[int(random.integers(len(frames)))]
            made = corrupt(normal, donor, random, int(random.integers(2, _MOST_SHAPES + 1)))
            weight, noisy = _weights(made.strength, config, height, width)
            wholes = (_seen(front, made.frame, device), clean, borders, weight)
            squares = list(_squares(height, width, side, noisy, random, share))
            parts.append(Lessons(*(torch.stack([whole[..., y, x] for y, x in squares]) for whole in wholes)))
        on_frame(number + 1, len(frames))
    return Lessons(*(torch.cat([getattr(part, one.name) for part in parts]) for one in fields(Lessons)))


def _seen(front: Front, frame: Frame, device: torch.device) -> Tensor:
    return front(frame[None], device)[0].cpu().half()


def _varied(frame: Frame, random: np.random.Generator) -> Frame:
    for axis in (0, 1):
        if random.random() < 0.5:
            frame = np.flip(frame, axis)
    varied: Frame = np.clip(frame.astype(np.float32) * random.uniform(*_BRIGHTNESS), 0, 255).astype(np.uint8)
    return varied


def _squares(
    height: int, width: int, side: int, noisy: Tensor, random: np.random.Generator, most: int
) -> Iterator[tuple[slice, slice]]:
    """Places of patches: as many as the frame holds side by side, at most so many."""
    wanted = min(most, -(-height * width // side**2))
    for attempt in range(8 * wanted):
        top, left = (int(random.integers(0, room + 1)) for room in (height - side, width - side))
        square = (slice(top, top + side), slice(left, left + side))
        if not noisy[square].any() and random.random() > _CLEAN_PATCHES and attempt < 7 * wanted:
            continue
        yield square
        wanted -= 1
        if not wanted:
            return


def _weights(strength: Floats, config: RadarConfig, height: int, width: int) -> tuple[Tensor, Tensor]:
    """(H, W) → weight (height, width), 1 where nothing was drawn and √(24 / a) in a shape of a cells of 8 px; and where
    something was."""
    from scipy.ndimage import label

    down, across = (-(-side // STRIDE_PX) for side in strength.shape)
    padded = np.zeros((down * STRIDE_PX, across * STRIDE_PX), np.float32)
    padded[: strength.shape[0], : strength.shape[1]] = strength
    cells = padded.reshape(down, STRIDE_PX, across, STRIDE_PX).max(axis=(1, 3))
    shapes, count = label(cells > _DAMAGED, np.ones((3, 3)))
    areas = np.bincount(shapes.ravel(), minlength=count + 1)
    by_shape = np.maximum(np.sqrt(_USUAL_CELLS / np.maximum(areas, 1)), _LEAST_WEIGHT)
    by_shape[0] = 1.0
    each = max(1, STRIDE_PX // config.scale)
    weight, noisy = (
        torch.from_numpy(cells).repeat_interleave(each, 0).repeat_interleave(each, 1)[:height, :width]
        for cells in (by_shape[shapes].astype(np.float32), shapes > 0)
    )
    return weight, noisy
