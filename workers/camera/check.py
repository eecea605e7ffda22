"""Looks through a source once, to tell whether it works before a shift begins."""

import io
import threading
from dataclasses import dataclass

from PIL import Image as Pillow
from PIL import UnidentifiedImageError

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
    size = len(image.content)
    if size > MAX_FRAME_BYTES:
        return Sight(False, f"{size:,} bytes are more than the {MAX_FRAME_BYTES:,} that a frame may have")
    try:
        with Pillow.open(io.BytesIO(image.content)) as picture:
            return Sight(True, f"{picture.width} × {picture.height}, {image.content_type}, {size:,} bytes")
    except (UnidentifiedImageError, OSError):
        return Sight(False, f"{size:,} bytes that are no image")
