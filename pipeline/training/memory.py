"""Whether a training finds the memory that it takes: the kernel ends one that does not, amid its work and without a
word."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from pipeline.training.images.data import size_text

_PROGRAM_BYTES = 800_000_000
"""Torch, scikit-learn and the networks. These and what a pixel takes are measured, on gray frames of 3 megapixels."""
_LIMITS = ("sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory/memory.limit_in_bytes")


def on_memory(shapes: Sequence[tuple[int, ...]], a_pixel: float, kept: float, root: Path = Path("/")) -> Iterator[str]:
    """For a person, where what may be used will hardly do. shapes: of the images; a_pixel: bytes for each pixel of one
    while it is looked at, which a GPU does in memory of its own: 0 there; kept: bytes of all that are kept at once.
    root: of the machine's files."""
    largest = max(shapes, key=lambda shape: shape[0] * shape[1])
    at_work, free = _PROGRAM_BYTES + a_pixel * largest[0] * largest[1], _free_bytes(root)
    if free is None or at_work + kept <= free:
        return
    less = f", train CFLOW, which takes {at_work / 1e9:.1f} GB" if kept > 0.2 * at_work and at_work <= free else ""
    yield (
        f"images of up to {size_text(largest)} take about {(at_work + kept) / 1e9:.1f} GB of memory here, and "
        f"{free / 1e9:.1f} GB may be used: the system may end this training without a word. Give smaller images (cut "
        f"into tiles, or shrunk, and by the cameras too){less}, end what else runs here, or take a larger machine"
    )


def _free_bytes(root: Path) -> int | None:
    """Of the machine, and no more than its container may take: what is taken there is mostly this very training, which
    is counted. None where nobody says, as on a Mac."""
    try:
        lines = (root / "proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    free = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    for limit in _LIMITS:
        try:
            free.append(int((root / limit).read_text()))
        except (OSError, ValueError):  # of the other version of cgroups, or "max"
            continue
    return min(free, default=None)
