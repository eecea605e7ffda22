"""A folder for one process at a time."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeline.errors import AndonError

_TRIES = 100


@contextmanager
def alone_in(folder: Path, other: str) -> Iterator[None]:
    """The folder, made where it is not there: two would take each other's files away, or write into one another's.
    other: 'another training keeps its checkpoint', for instance. The kernel lets it go when whoever holds it is killed.
    Taken away again where it is left empty. Raises AndonError."""
    held = _taken(folder, other)
    try:
        yield
    finally:
        with suppress(OSError):
            folder.rmdir()
        os.close(held)


def _taken(folder: Path, other: str) -> int:
    """A descriptor that locks the folder. Whoever had it may take it away between its opening and its lock here: then
    what is locked has no name any more, and another would get in beside."""
    for _ in range(_TRIES):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            held = os.open(folder, os.O_RDONLY)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(held)
            raise AndonError(f"{other} in {folder}: wait for it, end it, or give another --out") from error
        except OSError:  # file systems that cannot lock a folder
            pass
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(held), folder.stat()):
                return held
        os.close(held)
    raise AndonError(f"{folder} is taken away as often as it is made: give another --out")
