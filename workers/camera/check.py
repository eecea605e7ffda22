"""Looks through a source once, to tell whether it works before a shift begins."""

import threading
from dataclasses import dataclass

from pipeline.topics import MAX_FRAME_BYTES
from workers.camera.config import Source
from workers.camera.sources import open_source
from workers.camera.sources.base import Image, SourceError, Unreadable


@dataclass(frozen=True)
class Sight:
    usable: bool
    description: str


def look(source: Source, stop: threading.Event) -> Sight:
    """What the first image is, or why there is none."""
    try:
        image = next(iter(open_source(source).images(stop)), None)
    except SourceError as error:
        return Sight(False, str(error))
    if image is None:
        return Sight(False, "the source ended before its first image")
    if isinstance(image, Unreadable):
        return Sight(False, image.detail)
    return _describe(image)


def _describe(image: Image) -> Sight:
    """As a replica would take it: what it refuses is of no use."""
    # Here, because the worker needs no array.
    from pipeline.frames import FrameError, decode

    size = len(image.content)
    # A folder's part is named like the file and the round.
    which = f"its first image, {image.part_hint.rpartition('.')[0]!r}" if image.part_hint else "its first image"
    if size > MAX_FRAME_BYTES:
        return Sight(False, f"{which}: more than the {MAX_FRAME_BYTES:,} bytes that a frame may have")
    try:
        height, width = decode(image.content, "gray").shape
    except FrameError as error:
        return Sight(False, f"{which}: {size:,} bytes: {error}")
    return Sight(True, f"{width} × {height}, {image.content_type}, {size:,} bytes")
