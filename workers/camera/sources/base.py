"""What every source promises."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from pipeline.errors import AndonError
from workers.camera.config import Encoding

ContentType = Literal["image/png", "image/jpeg"]
CONTENT_TYPES: dict[Encoding, ContentType] = {"jpeg": "image/jpeg", "png": "image/png"}


class SourceError(AndonError):
    """The source can't be opened or broke off. The message says which, and what to do. It is tried again."""


@dataclass(frozen=True, slots=True)
class Image:
    content: bytes
    content_type: ContentType
    captured_at: datetime
    part_hint: str | None = None
    """A name for the part that the source knows, such as a file's."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Frames that are known to exist but could not be had. They are counted like any other."""

    detail: str
    frames: int = 1


@dataclass(frozen=True, slots=True)
class Ready:
    """No frame: the source is open, and its first may be long in coming, as where a part has to trigger it."""


class ImageSource(Protocol):
    def images(self, stop: threading.Event) -> Iterator[Image | Unreadable | Ready]:
        """Opens the source and yields until it ends or `stop` is set; waits no longer than a second on its own
        account without looking at `stop`. Called again after a SourceError, to reconnect.

        A plain end means that there will be nothing more, ever.
        """
        ...
