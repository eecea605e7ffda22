"""Files that are whole or not there, also after a power cut: until it is told to, the system keeps what was written in
memory."""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """UTF-8, written beside the file and put into its place at the end. What a file name holds that is no text is
    written as an escape. Raises OSError, of a full disk for instance, and leaves what stood there."""
    draft = path.with_name(path.name + ".part")
    try:
        draft.write_text(text, encoding="utf-8", errors="backslashreplace", newline="")
        to_disk(draft)
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
    names_to_disk([path.parent])


def to_disk(*files: Path) -> None:
    """What the files hold is on the disk when this returns. Before a rename: the new name could get there first, and
    would stand for nothing. Raises OSError."""
    for file in files:
        _sync(file)


def names_to_disk(folders: Iterable[Path]) -> None:
    """So are the names in these folders. File systems that know no such thing are let be."""
    for folder in folders:
        with suppress(OSError):
            _sync(folder)


def _sync(path: Path) -> None:
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
