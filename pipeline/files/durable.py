"""Files that are whole or not there, also after a power cut: until it is told to, the system keeps what was written in
memory."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO


def write_whole(path: Path, text: str, mode: int = 0o666) -> None:
    """UTF-8, written beside the file and put into its place at the end. What a file name holds that is no text is
    written as an escape. mode: the new file's, less the process' umask. Raises OSError that names the draft, of a full
    disk for instance; what stood there stays."""
    draft = draft_of(path)
    try:
        with naming(draft), open(draft, "wb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
            now = os.fstat(file.fileno()).st_mode
            if now & 0o777 & ~mode:  # of a draft that a killed process left, which keeps its own
                os.fchmod(file.fileno(), now & mode)
            file.write(text.encode("utf-8", "backslashreplace"))
        _give_name(draft, path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise


def write_or_remove(path: Path, content: bytes) -> None:
    """For pictures by the thousand, which are not worth a wait for the disk each: one that does not fit leaves no half
    of it. Raises OSError that names the file."""
    with naming(path), path.open("wb") as file:
        try:
            file.write(content)
            file.flush()
        except OSError:
            if path.is_symlink() or path.is_file():  # a device or a pipe was there before, and is for others, too
                path.unlink(missing_ok=True)
            raise


@contextmanager
def growing(path: Path) -> Iterator[TextIO]:
    """The same for a text that takes long: each line is in the draft as soon as it ends. Whoever is killed or fails
    before the last one leaves the draft, with what there was by then, and what stood there."""
    draft = draft_of(path)
    with naming(draft), draft.open("w", encoding="utf-8", errors="backslashreplace", newline="", buffering=1) as file:
        yield file
    _give_name(draft, path)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """An OSError of the system within says where: to open a file tells its name, to write into it does not."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise


def draft_of(path: Path) -> Path:
    """Where a file is written before it has its name."""
    return path.with_name(path.name + ".part")


def to_disk(*files: Path) -> None:
    """What the files hold is on the disk when this returns. Before a rename: the new name could get there first, and
    would stand for nothing. Raises OSError that names the file."""
    for file in files:
        with naming(file):
            _sync(file)


def names_to_disk(folders: Iterable[Path]) -> None:
    """So are the names in these folders. File systems that know no such thing are let be."""
    for folder in folders:
        with suppress(OSError):
            _sync(folder)


def _give_name(draft: Path, path: Path) -> None:
    to_disk(draft)
    draft.replace(path)
    names_to_disk([path.parent])


def _sync(path: Path) -> None:
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
