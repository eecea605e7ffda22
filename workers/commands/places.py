"""Where commands write to, looked at before the work and not after it."""

import errno
import json
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from pipeline.errors import AndonError
from pipeline.files.durable import draft_of, write_whole


def ready_folder(path: Path) -> Path:
    """The folder itself, by its whole name. Raises AndonError where nothing can be written into it."""
    if _leads_in_a_circle(path):
        raise AndonError(f"{path} cannot be made: {os.strerror(errno.ELOOP)}")
    folder = path.resolve()
    if folder.exists() and not folder.is_dir():
        raise AndonError(f"{path} is a file: give a folder to write into")
    there = next(one for one in (folder, *folder.parents) if one.exists())
    if not there.is_dir():
        raise AndonError(f"{path} cannot be made: {there} is a file")
    try:  # permissions alone say yes to root, on shares that say no
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise AndonError(
            f"{path} cannot be written: {there} takes no files from this user ({error.strerror}); give another folder"
        ) from error
    return folder


def _leads_in_a_circle(path: Path) -> bool:
    """`resolve` has raised for it up to Python 3.12, and goes on as if nothing were wrong since."""
    try:
        path.stat()
    except OSError as error:
        return error.errno == errno.ELOOP
    return False


def ready_file(path: Path) -> None:
    """Makes the file's folder. Raises AndonError or OSError where the file cannot be written into it."""
    if path.is_dir():
        raise AndonError(f"{path} is a folder: give a file to write to")
    if _is_stream(path):
        return
    path = Path(os.path.realpath(path))
    ready_folder(path.parent).mkdir(parents=True, exist_ok=True)
    if path.exists() and not os.access(path, os.W_OK):
        raise AndonError(f"{path} cannot be written: it is not this user's to change; give another file")
    with suppress(FileNotFoundError):
        os.lstat(draft_of(path))  # raises where its name is too long


def write_json(path: Path, what: Any) -> None:
    """For people and programs. A file is whole or stays as it was, where a link leads to one, too; into a pipe or a
    terminal, as /dev/stdout, it goes as it is. Raises OSError."""
    text = json.dumps(what, indent=2) + "\n"
    if _is_stream(path):
        path.write_text(text, encoding="utf-8")
    else:
        write_whole(Path(os.path.realpath(path)), text)


def _is_stream(path: Path) -> bool:
    return path.exists() and not path.is_file() and not path.is_dir()
