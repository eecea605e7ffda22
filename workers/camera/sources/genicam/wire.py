"""What a reader tells its worker over a pipe: a head of fixed size, and the bytes that it announces."""

import os
import select
import struct
import time
from dataclasses import dataclass
from enum import IntEnum

from pipeline.topics import MAX_FRAME_BYTES

_HEAD = struct.Struct("!BQIQ")
_CHUNK_BYTES = 1 << 20


class Kind(IntEnum):
    READY = 1
    """The camera is open."""
    FRAME = 2
    """The content is an encoded picture."""
    BEAT = 3
    """The reader is alive, and no picture came."""
    SPOILT = 4
    """A picture that can't be shown. The content says why."""
    FAULT = 5
    """The content says why the reader ends."""


@dataclass(frozen=True, slots=True)
class Message:
    kind: Kind
    content: bytes = b""
    captured_at_ms: int = 0
    """UTC. Of a frame."""
    lost: int = 0
    """Frames that the camera took before this, and that nobody will see."""

    def pack(self) -> bytes:
        return _HEAD.pack(self.kind, self.captured_at_ms, self.lost, len(self.content)) + self.content


class Inbox:
    """Takes messages from a pipe."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._held = bytearray()
        self._poll = select.poll()  # `select` knows no descriptor beyond 1,023
        self._poll.register(fd, select.POLLIN)

    def next(self, within_s: float) -> Message | None:
        """None when none is whole by then. Raises EOFError when the writer is gone, ValueError for no message."""
        until_s = time.monotonic() + within_s
        while (message := self._take()) is None:
            if not self._poll.poll(max(0.0, until_s - time.monotonic()) * 1000):
                return None
            chunk = os.read(self._fd, _CHUNK_BYTES)
            if not chunk:
                raise EOFError
            self._held += chunk
        return message

    def _take(self) -> Message | None:
        if len(self._held) < _HEAD.size:
            return None
        kind, captured_at_ms, lost, size = _HEAD.unpack_from(self._held)
        if size > MAX_FRAME_BYTES + 1:
            raise ValueError(f"{size:,} bytes are announced")
        end = _HEAD.size + size
        if len(self._held) < end:
            return None
        content = bytes(memoryview(self._held)[_HEAD.size : end])
        del self._held[:end]
        return Message(Kind(kind), content, captured_at_ms, lost)
