"""Encodes pictures and sends them to the worker, on a thread of its own: a picture is stamped with the moment at which
it came, however long the one before it takes."""

import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import IO

from pipeline.events import to_ms
from pipeline.topics import MAX_FRAME_BYTES
from workers.camera.config import GenicamSource
from workers.camera.sources.encoding import encoded
from workers.camera.sources.genicam.pixels import Raw, picture_of
from workers.camera.sources.genicam.wire import Kind, Message

_WAITING = 4


@dataclass(frozen=True, slots=True)
class Shot:
    raw: Raw
    taken_at: datetime
    lost: int
    """Frames before it that nobody will see."""


class Outbox:
    def __init__(self, wire: IO[bytes], source: GenicamSource, deaf: Callable[[], None]) -> None:
        """deaf: called when nobody listens any more."""
        self._wire = wire
        self._source = source
        self._deaf = deaf
        self._waiting: queue.Queue[Message | Shot | None] = queue.Queue(_WAITING)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def offer(self, item: Message | Shot) -> bool:
        """False where too many wait already."""
        try:
            self._waiting.put_nowait(item)
        except queue.Full:
            return False
        return True

    def put(self, message: Message) -> None:
        self._waiting.put(message)

    def close(self) -> None:
        """Once all is sent."""
        self._waiting.put(None)
        self._thread.join()
        with suppress(OSError):
            self._wire.close()

    def _run(self) -> None:
        heard = True
        while (item := self._waiting.get()) is not None:
            if not heard:
                continue
            message = item if isinstance(item, Message) else self._encoded(item)
            try:
                self._wire.write(message.pack())
                self._wire.flush()
            except OSError:
                heard = False
                self._deaf()

    def _encoded(self, shot: Shot) -> Message:
        try:
            content = encoded(picture_of(shot.raw), self._source.encode, self._source.quality)
        except Exception as error:  # of one picture: the next may be whole
            why = f"{type(error).__name__}: {error}"
            return Message(Kind.SPOILT, why.encode(errors="replace"), lost=shot.lost)
        # One byte more than a frame may have says that it has too many.
        return Message(Kind.FRAME, content[: MAX_FRAME_BYTES + 1], to_ms(shot.taken_at), shot.lost)
