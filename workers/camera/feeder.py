"""One camera: takes images from its source, gives each a number and an address, and hands it to the buffer."""

import logging
import os
import threading

from pipeline import tracing
from pipeline.topics import MAX_FRAME_BYTES
from workers.camera.backoff import Backoff
from workers.camera.buffer import Buffer
from workers.camera.config import Camera
from workers.camera.identity import Repeats
from workers.camera.ledger import DropReason, Ledger, Place
from workers.camera.parcel import Owner, Parcel
from workers.camera.sources.base import Image, ImageSource, SourceError, Unreadable
from workers.camera.stamp import Stamp

log = logging.getLogger(__name__)


class Feeder:
    """A source that fails is counted and tried again; it never takes the process down."""

    def __init__(
        self, camera: Camera, boot_id: str, source: ImageSource, buffer: Buffer, ledger: Ledger, frames: int | None
    ) -> None:
        """frames: ends after so many; never by itself where None."""
        self.owner = Owner(camera.camera_id, camera.line_id, boot_id)
        self.connected = False
        self.failures = 0
        """How often the source could not be opened or broke off."""
        self._camera = camera
        self._source = source
        self._buffer = buffer
        self._ledger = ledger
        self._frames = frames
        self._repeats = Repeats()
        self._stamp = Stamp(camera, boot_id, tracing.ratio_of(os.environ))
        ledger.open(self.owner)

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
                self.connected = False
                stop.wait(pause_s)
            finally:
                self.connected = False

    def _follow_source(self, backoff: Backoff, stop: threading.Event) -> None:
        if self._frames == 0:
            return
        for image in self._source.images(stop):
            self.connected = True
            backoff.reset()
            if stop.is_set():
                return
            if self._capture(image) + 1 == self._frames:
                return

    def _capture(self, image: Image | Unreadable) -> int:
        sequence = self._ledger.capture(self.owner)
        if isinstance(image, Unreadable):
            log.warning("camera %s: frame %d is unreadable: %s", self.owner.camera_id, sequence, image.detail)
            self._ledger.drop(self.owner, Place.BUFFERED, DropReason.UNREADABLE)
        elif not image.content:
            self._ledger.drop(self.owner, Place.BUFFERED, DropReason.EMPTY)
        elif len(image.content) > MAX_FRAME_BYTES:
            self._ledger.drop(self.owner, Place.BUFFERED, DropReason.TOO_LARGE)
        else:
            for lost in self._buffer.put(self._parcel(image, sequence)):
                reason = DropReason.SHUTDOWN if self._buffer.closed else DropReason.BUFFER_FULL
                self._ledger.drop(lost.owner, Place.BUFFERED, reason)
        return sequence

    def _parcel(self, image: Image, sequence: int) -> Parcel:
        part_id = image.part_hint if self._camera.part_id == "file" else None
        repeats = self._repeats.of(image.content)
        headers = self._stamp.headers(sequence, part_id, image.captured_at, image.content_type, repeats)
        return Parcel(self.owner, sequence, headers, image.content)
