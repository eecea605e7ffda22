"""Where every captured frame is, or what became of it. Pure counting; whoever moves a frame tells the ledger.

At every moment, for every camera and boot: captured == published + sum(dropped) + buffered + spooled.
"""

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from pipeline.events import BootEnd
from workers.camera.parcel import Owner


class DropReason(StrEnum):
    """Why a captured frame never reaches Kafka."""

    EMPTY = "empty"
    """The source delivered no bytes."""
    TOO_LARGE = "too_large"
    """More than topics.MAX_FRAME_BYTES."""
    UNREADABLE = "unreadable"
    """The source, or later the spool, could not give the bytes back."""
    BUFFER_FULL = "buffer_full"
    SPOOL_FULL = "spool_full"
    """The spool's limit or the disk was reached; the oldest frames went."""
    SPOOL_FAILED = "spool_failed"
    """At an orderly end, the disk refused to write for another reason than being full."""
    REJECTED = "rejected"
    """Kafka refused this very frame, twice, while it took others."""
    SHUTDOWN = "shutdown"
    """Still in memory at the end of an orderly shutdown, with no spool to keep it."""
    DIED = "died"
    """In memory when the worker was killed. Some of these may have reached Kafka unacknowledged."""


class Place(StrEnum):
    """Where a frame waits."""

    BUFFERED = "buffered"
    SPOOLED = "spooled"


@dataclass(frozen=True)
class Tally:
    """The count of one camera's boot at one moment."""

    captured: int = 0
    published: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)
    buffered: int = 0
    spooled: int = 0
    end: BootEnd = BootEnd.RUNNING

    @property
    def waiting(self) -> int:
        return self.buffered + self.spooled


@dataclass
class _Account:
    captured: int
    published: int
    dropped: Counter[str]
    waiting: dict[Place, int]
    end: BootEnd

    def tally(self) -> Tally:
        return Tally(
            self.captured,
            self.published,
            dict(self.dropped),
            self.waiting[Place.BUFFERED],
            self.waiting[Place.SPOOLED],
            self.end,
        )


class Ledger:
    """Thread-safe. Raises ValueError for a move from a place that holds no such frame: a bug, never an input."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._accounts: dict[Owner, _Account] = {}

    def open(self, owner: Owner, tally: Tally | None = None) -> None:
        """Begins to count for `owner`, at zero or where a former process left off."""
        start = tally or Tally()
        waiting = {Place.BUFFERED: start.buffered, Place.SPOOLED: start.spooled}
        with self._lock:
            self._accounts[owner] = _Account(
                start.captured, start.published, Counter(start.dropped), waiting, start.end
            )

    def capture(self, owner: Owner) -> int:
        """Counts a new frame, which is in the buffer until it is said to be elsewhere. Returns its sequence number."""
        with self._lock:
            account = self._accounts[owner]
            sequence = account.captured
            account.captured += 1
            account.waiting[Place.BUFFERED] += 1
            return sequence

    def move(self, owner: Owner, source: Place, target: Place) -> None:
        with self._lock:
            account = self._accounts[owner]
            _take(account, owner, source, 1)
            account.waiting[target] += 1

    def publish(self, owner: Owner, source: Place, frames: int = 1) -> None:
        with self._lock:
            account = self._accounts[owner]
            _take(account, owner, source, frames)
            account.published += frames

    def drop(self, owner: Owner, source: Place, reason: DropReason, frames: int = 1) -> None:
        with self._lock:
            account = self._accounts[owner]
            _take(account, owner, source, frames)
            account.dropped[reason.value] += frames

    def end(self, owner: Owner, end: BootEnd) -> None:
        with self._lock:
            self._accounts[owner].end = end

    def forget(self, owner: Owner) -> None:
        """For a boot that has ended and been reported for the last time."""
        with self._lock:
            self._accounts.pop(owner, None)

    def snapshot(self) -> dict[Owner, Tally]:
        """All tallies at one and the same moment."""
        with self._lock:
            return {owner: account.tally() for owner, account in self._accounts.items()}


def _take(account: _Account, owner: Owner, source: Place, frames: int) -> None:
    if account.waiting[source] < frames:
        raise ValueError(f"{owner}: {frames} frames shall leave {source}, which holds {account.waiting[source]}")
    account.waiting[source] -= frames
