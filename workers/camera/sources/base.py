"""What every source promises."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from pipeline.errors import AndonError

ContentType = Literal["image/png", "image/jpeg"]


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
    """A frame that is known to exist but could not be had. It is counted like any other."""

    detail: str


class ImageSource(Protocol):
    def images(self, stop: threading.Event) -> Iterator[Image | Unreadable]:
        """Opens the source and yields until it ends or `stop` is set; waits no longer than a second on its own
        account without looking at `stop`. Called again after a SourceError, to reconnect.

        A plain end means that there will be nothing more, ever.
        """
        ...
