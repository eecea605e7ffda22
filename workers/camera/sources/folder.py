"""Replays a folder of images: the files' own bytes, untouched."""

import os
import random
import threading
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from pipeline.events import now
from workers.camera.config import FolderSource
from workers.camera.sources.base import ContentType, Image, SourceError, Unreadable
from workers.camera.sources.pace import Pace

_CONTENT_TYPES: dict[str, ContentType] = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg"}
_PART_NAME_CHARACTERS = 100


class FolderReplay:
    def __init__(self, config: FolderSource) -> None:
        self._config = config
        self._sent = 0

    def images(self, stop: threading.Event) -> Iterator[Image | Unreadable]:
        pace = Pace(self._config.fps)
        for turn in count():
            # Listed anew each round: files may have been added or removed.
            for path in self._order(turn):
                if self._sent == self._config.limit or not pace.wait(stop):
                    return
                self._sent += 1
                yield _read(path, turn)
            if not self._config.loop:
                return

    def _order(self, turn: int) -> list[Path]:
        folder = self._config.path
        if not folder.is_dir():
            raise SourceError(f"folder {folder} does not exist; set the camera's source.path to a folder of images")
        images = (path for path in folder.rglob("*") if path.suffix.lower() in _CONTENT_TYPES and path.is_file())
        paths = sorted(images, key=os.fspath)
        if not paths:
            raise SourceError(f"folder {folder} holds no image ({', '.join(_CONTENT_TYPES)}); put some in")
        if self._config.shuffle_seed is not None:
            random.Random(f"{self._config.shuffle_seed}/{turn}").shuffle(paths)
        return paths


def _read(path: Path, turn: int) -> Image | Unreadable:
    try:
        content = path.read_bytes()
    except OSError as error:
        return Unreadable(f"{path}: {error.strerror}")
    part = f"{path.stem[-_PART_NAME_CHARACTERS:]}.{turn}"
    return Image(content, _CONTENT_TYPES[path.suffix.lower()], now(), part)
