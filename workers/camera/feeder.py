"""One camera: takes images from its source, gives each a number and an address, and hands it to the buffer."""

import logging
import os
import threading
import time

from pipeline import tracing
from pipeline.topics import MAX_FRAME_BYTES
from workers.camera.backoff import Backoff
from workers.camera.buffer import Buffer
from workers.camera.config import Camera, FolderSource, Source
from workers.camera.identity import Repeats
from workers.camera.ledger import DropReason, Ledger, Place
from workers.camera.parcel import Owner, Parcel
from workers.camera.sources.base import Image, ImageSource, Ready, SourceError, Unreadable
from workers.camera.stamp import Stamp

log = logging.getLogger(__name__)

_NEVER = float("inf")
_FILE_S = 10.0
"""A file that takes longer is on a share or a disk that hangs."""


class Feeder:
    """A source that fails is counted and tried again; it never takes the process down."""

    def __init__(
        self, camera: Camera, boot_id: str, source: ImageSource, buffer: Buffer, ledger: Ledger, frames: int | None
    ) -> None:
        """frames: ends after so many; never by itself where None."""
        self.owner = Owner(camera.camera_id, camera.line_id, boot_id)
        self.failures = 0
        """How often the source could not be opened or broke off."""
        self._camera = camera
        self._source = source
        self._buffer = buffer
        self._ledger = ledger
        self._frames = frames
        self._delivers = False
        self._asked_at_s = _NEVER
        self._patience_s = _patience_s(camera.source)
        self._told_that_it_hangs = False
        self._told_too_large = False
        self._repeats = Repeats()
        self._stamp = Stamp(camera, boot_id, tracing.ratio_of(os.environ))
        ledger.open(self.owner)

    @property
    def connected(self) -> bool:
        """Whether images come."""
        return self._delivers and not self._hangs

    @property
    def _hangs(self) -> bool:
        return time.monotonic() - self._asked_at_s > self._patience_s

    def watch(self) -> None:
        """Now and then, on another thread: whoever waits for a share that hangs can't say so himself."""
        hangs = self._hangs
        if hangs and not self._told_that_it_hangs:
            log.warning("camera %s: its source has given nothing for %.0f s", self.owner.camera_id, self._patience_s)
        self._told_that_it_hangs = hangs

    def run(self, stop: threading.Event) -> None:
        """Until the source ends for good, the wanted frames are captured, or `stop` is set."""
        backoff = Backoff(0.5, 30)
        while not stop.is_set():
            try:
                self._follow_source(backoff, stop)
                return
            except Exception as error:
                self.failures += 1
                pause_s = backoff.next_s()
                # A fault in a decoder must not blind the other cameras; one that is not foreseen shows its trace.
                trace = None if isinstance(error, SourceError) else error
                log.warning(
                    "camera %s: %s; next attempt in %.1f s", self.owner.camera_id, error, pause_s, exc_info=trace
                )
                self._stopped_delivering()
                stop.wait(pause_s)
            finally:
                self._stopped_delivering()

    def _stopped_delivering(self) -> None:
        self._delivers, self._asked_at_s = False, _NEVER

    def _follow_source(self, backoff: Backoff, stop: threading.Event) -> None:
        if self._frames == 0:
            return
        self._asked_at_s = time.monotonic()
        for image in self._source.images(stop):
            if not self._delivers and self.failures:
                log.info("camera %s: its source is there again", self.owner.camera_id)
            self._delivers, self._asked_at_s = True, _NEVER
            if stop.is_set():
                return
            if not isinstance(image, Ready):
                backoff.reset()
                if self._capture(image) + 1 == self._frames:
                    return
            self._asked_at_s = time.monotonic()

    def _lose(self, frames: Unreadable) -> int:
        first = last = self._ledger.capture(self.owner)
        self._ledger.drop(self.owner, Place.BUFFERED, DropReason.UNREADABLE)
        while last + 1 < first + frames.frames and last + 1 != self._frames:
            last = self._ledger.capture(self.owner)
            self._ledger.drop(self.owner, Place.BUFFERED, DropReason.UNREADABLE)
        which = f"frame {first} is" if last == first else f"frames {first} to {last} are"
        log.warning("camera %s: %s unreadable: %s", self.owner.camera_id, which, frames.detail)
        return last

    def _capture(self, image: Image | Unreadable) -> int:
        """The number of the last frame of it."""
        if isinstance(image, Unreadable):
            return self._lose(image)
        sequence = self._ledger.capture(self.owner)
        if not image.content:
            self._ledger.drop(self.owner, Place.BUFFERED, DropReason.EMPTY)
        elif len(image.content) > MAX_FRAME_BYTES:
            if not self._told_too_large:
                self._told_too_large = True
                log.warning(
                    "camera %s: frame %d has more than the %s bytes that a frame may have, and is dropped; encode it "
                    "as JPEG, or cut it. Of others no word is said until one fits",
                    self.owner.camera_id,
                    sequence,
                    f"{MAX_FRAME_BYTES:,}",
                )
            self._ledger.drop(self.owner, Place.BUFFERED, DropReason.TOO_LARGE)
        else:
            self._told_too_large = False
            for lost in self._buffer.put(self._parcel(image, sequence)):
                reason = DropReason.SHUTDOWN if self._buffer.closed else DropReason.BUFFER_FULL
                self._ledger.drop(lost.owner, Place.BUFFERED, reason)
        return sequence

    def _parcel(self, image: Image, sequence: int) -> Parcel:
        part_id = image.part_hint if self._camera.part_id == "file" else None
        repeats = self._repeats.of(image.content)
        headers = self._stamp.headers(sequence, part_id, image.captured_at, image.content_type, repeats)
        return Parcel(self.owner, sequence, headers, image.content)


def _patience_s(source: Source) -> float:
    """How long an image may be waited for. Other sources have time-outs of their own."""
    return _FILE_S + 1 / (source.fps or _NEVER) if isinstance(source, FolderSource) else _NEVER
