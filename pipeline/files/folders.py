"""Every file below a folder, also through links to other folders. Imports nothing heavy: cameras list folders, too."""

import os
from collections.abc import Iterator
from pathlib import Path


def files_below(folder: Path, and_lost: bool = False) -> Iterator[str]:
    """Paths of all files, and of links whose files are gone where `and_lost`. A folder that several links lead to, or a
    link back up, is gone through once. What is hidden is left out: a Mac lays a ._part.png beside every part.png on a
    disk that is not its own, and shares keep copies of everything in a .snapshot.

    Plain text and bare system calls: a Path for each file costs more than reading it.
    """
    been: set[tuple[int, int]] = set()
    for where, folders, names in os.walk(folder, followlinks=True):
        known = _identity(where)
        if known is None or known in been:
            folders.clear()
            continue
        been.add(known)
        folders[:] = sorted(
            (name for name in folders if not name.startswith(".")),
            key=lambda name: (os.path.islink(os.path.join(where, name)), name),
        )
        for name in names:
            if name.startswith("."):
                continue
            path = os.path.join(where, name)
            if os.path.isfile(path) or (and_lost and not os.path.exists(path)):
                yield path


def _identity(folder: str) -> tuple[int, int] | None:
    """None where it is gone meanwhile."""
    try:
        facts = os.stat(folder)
    except OSError:
        return None
    return facts.st_dev, facts.st_ino
