"""Files that hold the very same picture. A copy tells nothing new, and in another role it would know too much: a
threshold that is set by copies of what the model was fitted on lies too low. A camera that hangs gives the same pixels
over and over, in files whose time stamps differ."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from pipeline.counting import counted, named
from pipeline.training.images.data import fingerprint


def without_copies(paths: Sequence[Path]) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """(the first file of each content, in order; the others). A file that is empty or cannot be read is nobody's copy:
    whoever loads it says what is wrong with it."""
    sizes = Counter(_size(path) for path in paths)
    seen: set[str] = set()
    kept, copies = [], []
    for path in paths:
        # Files of sizes of their own need no reading.
        if (known := hash_of(path) if sizes[_size(path)] > 1 and _size(path) else None) in seen:
            copies.append(path)
            continue
        kept.append(path)
        if known:
            seen.add(known)
    return tuple(kept), tuple(copies)


def without_repeats(paths: Sequence[Path], pixels: Sequence[str]) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """(the first file of each picture, in order; the others). pixels: `pixels_of` each."""
    first = {picture: path for path, picture in zip(reversed(paths), reversed(pixels), strict=True)}
    kept = tuple(path for path, picture in zip(paths, pixels, strict=True) if first[picture] == path)
    return kept, tuple(path for path, picture in zip(paths, pixels, strict=True) if first[picture] != path)


def said(copies: Sequence[Path], alike: str = "byte for byte") -> str:
    """For a person: which were left out."""
    names = named(path.name for path in copies)
    return f"{counted(len(copies), 'image')} left out as copies of others, {alike}: {names}"


def said_of_repeats(repeats: Sequence[Path]) -> str:
    return said(repeats, "pixel for pixel (did the camera hang, or send a few levels alone?)")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def hash_of(path: Path) -> str | None:
    """None of a file that cannot be read: whoever loads it says so."""
    try:
        return fingerprint(path)
    except OSError:
        return None
