"""Training images on disk → arrays. Everything that is wrong with a folder is said at once, file by file."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.detectors.bundle import InputSpec
from pipeline.errors import AndonError
from pipeline.frames import FrameError, Mode, decode

Frame = NDArray[np.uint8]
"""(H, W) gray or (H, W, 3) RGB."""
SUFFIXES = frozenset({".png", ".jpg", ".jpeg"})
"""What cameras may send is what one may train on."""
_FILES_NAMED = 10


class DataError(AndonError):
    """Images that cannot be trained or evaluated on. The message names the files and says what to do."""


@dataclass(frozen=True)
class Layout:
    """Where the images of a data set lie. Paths are sorted by name, which is taken to be the order of production."""

    normals: tuple[Path, ...]
    """For training."""
    test_normals: tuple[Path, ...]
    test_defects: tuple[Path, ...]


def find_layout(folder: Path) -> Layout:
    """Understands MVTec's layout (train/good, test/good, test/<any defect>) and a plain folder of normal images.

    Raises DataError when there is no such folder or it holds no training image.
    """
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}: give --data a folder of images of good parts")
    good = folder / "train" / "good"
    normals = _images(good if good.is_dir() else folder)
    if not normals:
        raise DataError(
            f"{good if good.is_dir() else folder} holds no images ({', '.join(sorted(SUFFIXES))}): put images of good "
            "parts there, or into train/good below it"
        )
    defects: list[Path] = []
    if (folder / "test").is_dir():
        for kind in sorted(path for path in (folder / "test").iterdir() if path.is_dir() and path.name != "good"):
            defects.extend(_images(kind))
    return Layout(normals=normals, test_normals=_images(folder / "test" / "good"), test_defects=tuple(defects))


def _images(folder: Path) -> tuple[Path, ...]:
    if not folder.is_dir():
        return ()
    return tuple(sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file()))


def detect_mode(path: Path) -> Mode:
    """'gray' for an image stored with one channel, else 'rgb'. Raises DataError when it cannot be read."""
    try:
        with Image.open(path) as image:
            return "gray" if image.mode in ("1", "L", "I", "I;16") else "rgb"
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {path}: {error}. Replace or remove it.") from error


def load_frames(paths: Sequence[Path], mode: Mode) -> list[Frame]:
    """One (H, W) array for each file in 'gray', (H, W, 3) in 'rgb', decoded exactly as the stream decodes its frames.
    Sizes may differ from file to file.

    Raises DataError that names every unreadable file, or says that there are no images.
    """
    frames: list[Frame] = []
    faults: list[str] = []
    for path in paths:
        try:
            frames.append(read_frame(path, mode))
        except DataError as error:
            faults.append(str(error))
    if faults:
        rest = f"\n… and {len(faults) - _FILES_NAMED} more" if len(faults) > _FILES_NAMED else ""
        listed = "\n".join(faults[:_FILES_NAMED])
        raise DataError(f"{len(faults)} of {len(paths)} images cannot be used; repair or remove them:\n{listed}{rest}")
    if not frames:
        raise DataError("there are no images to load")
    return frames


def read_frame(path: Path, mode: Mode) -> Frame:
    """One file of `load_frames`. Raises DataError."""
    try:
        return decode(path.read_bytes(), mode)
    except (OSError, FrameError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from error


def by_size(frames: Sequence[Frame]) -> list[tuple[NDArray[np.intp], NDArray[np.uint8]]]:
    """(positions, batch) for each size among the frames: what can go through a network together.

    `np.concatenate` of the positions holds every frame once, so results are put back with `result[positions] = …`.
    """
    groups: dict[tuple[int, ...], list[int]] = {}
    for position, frame in enumerate(frames):
        groups.setdefault(frame.shape, []).append(position)
    return [(np.array(group), np.stack([frames[i] for i in group])) for group in groups.values()]


def input_spec(frames: Sequence[Frame], mode: Mode, min_side_px: int) -> InputSpec:
    """What a model that was trained on these frames may judge: their one size, or, when they differ, any size from
    `min_side_px` up. Raises DataError that names the smallest frame when it lies below."""
    heights, widths = ([frame.shape[axis] for frame in frames] for axis in (0, 1))
    shortest = min(frames, key=lambda frame: min(frame.shape[:2]))
    if min(shortest.shape[:2]) < min_side_px:
        raise DataError(
            f"the images go down to {_size(shortest)}, and this model takes no side below {min_side_px} px: "
            "give larger images or train with smaller patches"
        )
    one_size = len({frame.shape for frame in frames}) == 1
    return InputSpec(
        height_px=max(heights), width_px=max(widths), mode=mode, min_side_px=None if one_size else min_side_px
    )


def _size(frame: Frame) -> str:
    return f"{frame.shape[1]} × {frame.shape[0]} px"
