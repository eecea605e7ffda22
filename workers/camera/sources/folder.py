"""Replays a folder of images: the files' own bytes, untouched."""

import os
import random
import threading
from collections.abc import Iterator
from pathlib import Path

from pipeline.events import now
from pipeline.files.folders import files_below
from pipeline.topics import MAX_FRAME_BYTES
from workers.camera.config import FolderSource
from workers.camera.sources.base import ContentType, Image, SourceError, Unreadable
from workers.camera.sources.pace import Pace

_CONTENT_TYPES: dict[str, ContentType] = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg"}
_PART_NAME_CHARACTERS = 100


class FolderReplay:
    def __init__(self, config: FolderSource) -> None:
        self._config = config
        self._inside = len(os.path.join(config.path, ""))
        self._sent = 0
        self._turn = 0

    def images(self, stop: threading.Event) -> Iterator[Image | Unreadable]:
        pace = Pace(self._config.fps)
        while True:
            # Listed anew each round: files may have been added or removed.
            for path in self._order(self._turn):
                if self._sent == self._config.limit or not pace.wait(stop):
                    return
                self._sent += 1
                yield self._image(path)
            self._turn += 1  # also over a fault between rounds, or a part would have the name of another
            if not self._config.loop:
                return

    def _order(self, turn: int) -> list[str]:
        folder = self._config.path
        try:
            if not folder.is_dir():
                raise SourceError(f"folder {folder} does not exist; set the camera's source.path to a folder of images")
            paths = sorted(_images_below(folder))
        except OSError as error:
            raise SourceError(f"folder {folder} can't be listed: {error.strerror}") from error
        if not paths:
            raise SourceError(f"folder {folder} holds no image ({', '.join(_CONTENT_TYPES)}); put some in")
        if self._config.shuffle_seed is not None:
            random.Random(f"{self._config.shuffle_seed}/{turn}").shuffle(paths)
        return paths

    def _image(self, path: str) -> Image | Unreadable:
        try:
            content = _read(path)
        except OSError as error:
            return Unreadable(f"{path}: {error.strerror}")
        # With its folder within: files of one name in two folders are two parts.
        name, suffix = os.path.splitext(path[self._inside :])
        hint = f"{name[-_PART_NAME_CHARACTERS:]}.{self._turn}"
        return Image(content, _CONTENT_TYPES[suffix.lower()], now(), hint)


def _images_below(folder: Path) -> Iterator[str]:
    return (path for path in files_below(folder) if os.path.splitext(path)[1].lower() in _CONTENT_TYPES)


def _read(path: str) -> bytes:
    """No more than tells that it is too large: a film that somebody called .png would fill the memory."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        wanted = min(os.fstat(file).st_size, MAX_FRAME_BYTES)
        content = os.read(file, wanted + 1)
        if len(content) == wanted:
            return content
        parts, left = [content], MAX_FRAME_BYTES + 1 - len(content)
        while parts[-1] and left > 0:  # it grows, or the system gives it in parts
            parts.append(os.read(file, left))
            left -= len(parts[-1])
        return b"".join(parts)
    finally:
        os.close(file)
