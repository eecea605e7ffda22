"""Moves frames into and out of the spool and keeps the ledger true to it. Used by the uplink's thread alone."""

import errno
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable

from pipeline.events import now
from workers.camera.heartbeats import Report
from workers.camera.ledger import DropReason, Ledger, Place
from workers.camera.parcel import Owner, Parcel
from workers.camera.spool.recovery import recover
from workers.camera.spool.segment import SpoolFullError
from workers.camera.spool.store import DamagedRecordsError, Spool
from workers.camera.window import Entry, Window

log = logging.getLogger(__name__)

_SLOW_DISK_S = 10.0
_DEAF_DISK_S = 30.0
"""A share that is mounted anew answers by then; behind what the disk never gives back, newer frames must not wait."""
_DEAF_SEGMENTS = 3
"""So many in a row that fail alike are not what is broken: that is the disk, and what else it has is waited for no
more."""
_AT_A_STRETCH_S = 1.0
"""A broken disk may take its time to say so, of each segment."""
_OF_THE_PROCESS = (errno.EMFILE, errno.ENFILE)
"""It has too many files open, and the disk every frame."""

Apart = Callable[[Callable[[], None]], Callable[[], None]]
"""Begins some work, and returns what waits for its end."""


def _on_a_thread(work: Callable[[], None]) -> Callable[[], None]:
    """A daemon: a disk that hangs for ever must not keep the worker from ending."""
    thread = threading.Thread(target=work, name="checkpoint", daemon=True)
    thread.start()
    return thread.join


class _Complaint:
    """Told once until it is over: a log line for every frame would fill what is left of the disk."""

    def __init__(self) -> None:
        self._stands = False

    def tell(self, what: str, why: OSError | str) -> None:
        if not self._stands:
            log.error("%s: %s", what, why)
        self._stands = True

    def over(self) -> None:
        self._stands = False


class Depot:
    def __init__(self, spool: Spool, ledger: Ledger, window: Window, apart: Apart = _on_a_thread) -> None:
        """apart: where the disk is waited for."""
        self._spool = spool
        self._ledger = ledger
        self._window = window
        self._apart = apart
        # Apart, since a disk may take frames and synchronise none, or give none back.
        self._appends, self._checkpoints, self._reads = _Complaint(), _Complaint(), _Complaint()
        self._deaf_since_s: float | None = None
        self._deaf_by: int | None = None
        self._deaf_segments = 0
        """Given up in a row, each by that error."""
        self._written = True
        self._begun_at_s = 0.0
        self._wait: Callable[[], None] = lambda: None
        self.report: Report = (now(), {})
        """What may be reported: all of it is on disk, as far as the disk takes it."""

    @property
    def has_unsent(self) -> bool:
        return self._spool.unread

    @property
    def empty(self) -> bool:
        return self._spool.empty

    def store(self, parcel: Parcel) -> DropReason | None:
        """Puts a frame from the buffer behind all others. Where the disk does not take it, it stays the caller's:
        returns what to drop it for, if it can be kept nowhere else."""
        try:
            self._append(parcel)
        except OSError as error:
            self._appends.tell("frames cannot be spooled and wait in memory, as far as there is room", error)
            return DropReason.SPOOL_FULL if isinstance(error, SpoolFullError) else DropReason.SPOOL_FAILED
        self._ledger.move(parcel.owner, Place.BUFFERED, Place.SPOOLED)
        return None

    def secure(self, entry: Entry) -> bool:
        """Puts a frame that is on its way on disk as well, where nothing newer is there yet."""
        try:
            entry.segment = self._append(entry.parcel, handed_out=True)
        except OSError as error:
            self._appends.tell("frames on their way stay in memory only", error)
            return False
        self._ledger.move(entry.parcel.owner, Place.BUFFERED, Place.SPOOLED)
        return True

    def fetch(self) -> Entry | None:
        """The oldest frame not yet on its way. None, too, where the disk does not give it now: `has_unsent` tells."""
        found, lost = None, Counter[Owner]()
        end_s = time.monotonic() + _AT_A_STRETCH_S
        while not found and self._spool.unread and time.monotonic() < end_s:
            try:
                found = self._spool.read()
            except DamagedRecordsError as error:
                lost += error.lost
                continue
            except OSError as error:
                if self._may_come(error):
                    break
                lost += self._spool.pass_over()
                continue
            self._reads.over()
            self._deaf_since_s, self._deaf_segments = None, 0
        if lost:
            log.error("%d spooled frames are damaged; they are counted as unreadable", lost.total())
            if not self._spool.unread:
                self._deaf_segments = 0  # what comes next may go to another disk
        for owner, frames in lost.items():
            self._ledger.drop(owner, Place.SPOOLED, DropReason.UNREADABLE, frames)
        return Entry(*found) if found else None

    def _may_come(self, error: OSError) -> bool:
        """Whether to wait for what the disk does not give."""
        self._reads.tell(f"spooled frames cannot be read and wait, up to {_DEAF_DISK_S:g} s", error)
        since_s = self._deaf_since_s = self._deaf_since_s or time.monotonic()
        if error.errno != self._deaf_by:
            self._deaf_by, self._deaf_segments = error.errno, 0
        if error.errno in _OF_THE_PROCESS:
            return True
        if self._deaf_segments < _DEAF_SEGMENTS and time.monotonic() - since_s < _DEAF_DISK_S:
            return True
        self._deaf_since_s = None
        self._deaf_segments += 1
        if self._deaf_segments == _DEAF_SEGMENTS:
            log.error(
                "%d segments in a row: the spool's disk is broken, and nothing else on it is waited for: %s",
                _DEAF_SEGMENTS,
                error,
            )
        return False

    def release(self) -> None:
        """The oldest frame on its way has been acknowledged or rejected."""
        self._spool.release()

    def begin_checkpoint(self) -> None:
        """Makes everything durable, while frames go on: synchronising takes a memory card half a second, and now and
        then many, and they are on their way to Kafka meanwhile. Nothing, where the one before is still being written.
        """
        if not self._written:
            if time.monotonic() - self._begun_at_s > _SLOW_DISK_S:
                why = f"the spool's disk has not answered for {_SLOW_DISK_S:g} s"
                self._checkpoints.tell("heartbeats tell only what held before", why)
            return
        report = now(), self._ledger.snapshot()
        write = self._spool.begin_checkpoint(report[1])

        def work() -> None:
            try:
                try:
                    write()
                    self._checkpoints.over()
                except OSError as error:
                    what = "the spool's state cannot be written; a crash now would cost its exact counts"
                    self._checkpoints.tell(what, error)
                self.report = report
            finally:  # whatever befell this one, the next is begun
                self._written = True

        self._written, self._begun_at_s = False, time.monotonic()
        self._wait = self._apart(work)

    def checkpoint(self) -> None:
        """The same, with all that stands by now, and waits for it."""
        self._wait()
        self.begin_checkpoint()
        self._wait()

    def _append(self, parcel: Parcel, *, handed_out: bool = False) -> int:
        while True:
            try:
                segment = self._spool.append(parcel, handed_out=handed_out)
                self._appends.over()
                return segment
            except SpoolFullError:
                if not self._spool.file_bytes:
                    raise
                self._evict()

    def _evict(self) -> None:
        lost, segment = self._spool.evict()
        for owner, frames in lost.items():
            self._ledger.drop(owner, Place.SPOOLED, DropReason.SPOOL_FULL, frames)
        for entry in self._window:
            if entry.segment is not None and entry.segment <= segment:
                entry.segment = None
                self._ledger.move(entry.parcel.owner, Place.SPOOLED, Place.BUFFERED)
        log.warning("the spool is full: its oldest segment was given up, and %d frames with it", lost.total())
        self.checkpoint()
        self._spool.free_disk()  # even where the state could not be written: the disk may be full


def adopt_former_boots(spool: Spool, ledger: Ledger) -> None:
    """Takes over the counts of former boots, so that they are reported until their last frame is out."""
    if spool.torn_bytes:
        log.warning("%d bytes at the end of the spool were torn off by a crash", spool.torn_bytes)
    for owner, tally in recover(spool.remembered, spool.found).items():
        ledger.open(owner, tally)
        if tally.waiting:
            log.info("%s: %d frames of boot %s are in the spool", owner.camera_id, tally.spooled, owner.boot_id)
