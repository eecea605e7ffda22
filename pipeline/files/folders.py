"""Every file below a folder, also through links to other folders. Imports nothing heavy: cameras list folders, too."""

import logging
import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

log = logging.getLogger(__name__)


def files_below(folder: Path, and_lost: bool = False) -> Iterator[str]:
    """Paths of all files, and of links whose files are gone where `and_lost`. A folder that several links lead to, or a
    link back up, is gone through once. What is hidden is left out: a Mac lays a ._part.png beside every part.png on a
    disk that is not its own, and shares keep copies of everything in a .snapshot. A folder within that can't be listed
    is left out, which the log tells.

    Raises OSError for `folder` itself.

    Plain text and bare system calls: a Path for each file costs more than reading it.
    """

    def pass_over(error: OSError) -> None:
        if str(error.filename) == str(folder):
            raise error
        _tell(error.filename, error.strerror)

    been: set[tuple[int, int]] = set()
    for where, folders, names in os.walk(folder, onerror=pass_over, followlinks=True):
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


@lru_cache(1000)
def _tell(folder: str, why: str) -> None:
    """Once: a camera lists its folder anew in each round."""
    log.warning("%s is left out, for it can't be listed: %s", folder, why)


def _identity(folder: str) -> tuple[int, int] | None:
    """None where it is gone meanwhile."""
    try:
        facts = os.stat(folder)
    except OSError:
        return None
    return facts.st_dev, facts.st_ino
