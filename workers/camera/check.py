"""Looks through each source once, and at the spool's folder, to tell whether they work before a shift begins."""

import os
import re
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.topics import MAX_FRAME_BYTES
from workers.camera.config import FolderSource, Source, VideoSource
from workers.camera.sources import open_source
from workers.camera.sources.base import Image, Ready, SourceError, Unreadable


@dataclass(frozen=True)
class Sight:
    usable: bool
    description: str


_PATIENCE_S = 20.0
_DIM = 64
"""Of 255: 14 bits in a picture of 16 come to less."""
_PNG_BITS_AT = 24
_GIVE_BACK_S = 6.0
"""A camera that waits for its trigger is let go of in good order, or nobody else could open it for some seconds."""


def look_at_all(sources: Sequence[Source]) -> list[Sight]:
    """What the first image of each is, or why there is none. At once: two hundred cameras that are away would take half
    an hour, and one on a share that hangs for ever."""
    found: dict[int, Image | Ready | str] = {}
    stop = threading.Event()

    def look(number: int) -> None:
        for sight in _first_of(sources[number], stop):
            found[number] = sight

    threads = [threading.Thread(target=look, args=(number,), daemon=True) for number in range(len(sources))]
    begun_s = time.monotonic()
    for thread in threads:
        thread.start()
    for source, thread in zip(sources, threads, strict=True):
        thread.join(max(0.0, begun_s + _patience_s(source) - time.monotonic()))
    sights = [
        _describe(found.get(number, f"the source gave nothing in {_patience_s(source):g} s"))
        for number, source in enumerate(sources)
    ]
    stop.set()
    given_back_by_s = time.monotonic() + _GIVE_BACK_S
    for thread in threads:
        thread.join(max(0.0, given_back_by_s - time.monotonic()))
    return sights


def spool_fault(folder: Path) -> str | None:
    """Why a worker of this user could not keep frames there, if so. Leaves nothing behind, and is no hindrance to a
    worker that has the folder now."""
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if os.path.lexists(path))
    try:
        with tempfile.TemporaryFile(dir=there) as file:
            file.write(b"frame")
        files = os.listdir(folder) if there == folder.absolute() else []
    except OSError as error:
        return f"{there}: {error.strerror}"
    ours = re.compile(r"lock|state\.json|\d+\.segment")
    foreign = [path for name in files if ours.fullmatch(name) and not _is_ours(path := folder / name)]
    return f"{foreign[0]} can't be read and written by this user" if foreign else None


def _is_ours(path: Path) -> bool:
    return os.access(path, os.R_OK | os.W_OK)


def _patience_s(source: Source) -> float:
    if isinstance(source, FolderSource):
        return _PATIENCE_S
    return _PATIENCE_S + source.open_timeout_s + (source.read_timeout_s if isinstance(source, VideoSource) else 0.0)


def _first_of(source: Source, stop: threading.Event) -> Iterator[Image | Ready | str]:
    """That it is open, if it says so; then its first image, or why there is none."""
    try:
        for image in open_source(source).images(stop):
            yield image.detail if isinstance(image, Unreadable) else image
            if not isinstance(image, Ready):
                return
        yield "the source ended before its first image"
    except (OSError, SourceError) as error:
        yield str(error)


def _describe(image: Image | Ready | str) -> Sight:
    """As a replica would take it: what it refuses is of no use."""
    if isinstance(image, Ready):
        return Sight(True, f"open, but no picture in {_PATIENCE_S:g} s: does it wait for a trigger?")
    if isinstance(image, str):
        return Sight(False, image)
    # Here, because the worker needs no array.
    from pipeline.frames import FrameError, decode

    size = len(image.content)
    # A folder's part is named like the file and the round.
    which = f"its first image, {image.part_hint.rpartition('.')[0]!r}" if image.part_hint else "its first image"
    if size > MAX_FRAME_BYTES:
        return Sight(False, f"{which}: more than the {MAX_FRAME_BYTES:,} bytes that a frame may have")
    try:
        pixels = decode(image.content, "gray")
    except FrameError as error:
        return Sight(False, f"{which}: {size:,} bytes: {error}")
    height, width = pixels.shape
    seen = f"{width} × {height}, {image.content_type}, {size:,} bytes"
    wide = image.content.startswith(b"\x89PNG") and image.content[_PNG_BITS_AT] == 16
    if wide and (brightest := int(pixels.max())) < _DIM:
        seen += (
            f"; 16 bits, whose brightest come to {brightest} of 255: are they filled? Values of 12 bits have to be "
            "multiplied by 16, for training, too"
        )
    return Sight(True, seen)
