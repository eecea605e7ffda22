"""A folder for one process at a time."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeline.errors import AndonError


@contextmanager
def alone_in(folder: Path, other: str) -> Iterator[None]:
    """The folder, made where it is not there: two would take each other's files away, or write into one another's.
    other: 'another training keeps its checkpoint', for instance. The kernel lets it go when whoever holds it is killed.
    Taken away again where it is left empty. Raises AndonError."""
    folder.mkdir(parents=True, exist_ok=True)
    held = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise AndonError(f"{other} in {folder}: wait for it, end it, or give another --out") from error
        except OSError:  # file systems that cannot lock a folder
            pass
        yield
    finally:
        with suppress(OSError):
            folder.rmdir()
        os.close(held)
