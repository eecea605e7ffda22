"""The spool as a whole: segments in a row, a position that Kafka's acknowledgements push forward, and a byte limit.

Durability: what is appended survives the death of the process at once, and a power cut after the next checkpoint,
which the uplink begins every second.
"""

import errno
import fcntl
import logging
import os
from collections import Counter, deque
from collections.abc import Callable, Mapping
from pathlib import Path

from pipeline.errors import AndonError
from pipeline.files.durable import to_disk
from workers.camera.ledger import Tally
from workers.camera.parcel import Owner, Parcel
from workers.camera.spool.record import PREFIX, TornRecordError
from workers.camera.spool.recovery import Found
from workers.camera.spool.segment import Segment, SpoolFullError
from workers.camera.spool.state import Position, load_state, save_state

log = logging.getLogger(__name__)

_LOCK = "lock"
_SEGMENTS = 32
"""The spool gives up its oldest frames a segment at a time, so about this share of it."""
_HEAD_BYTES = PREFIX.size + 1024
"""What a record takes beside its image."""
_ANOTHER = errno.EBUSY, "another spool has come into the place of this worker's; start the worker anew"
_UNMOUNTED = errno.ENODEV, "the disk that it was on is not mounted any more"


class SpoolInUseError(AndonError):
    """Another process has this spool."""


class DamagedRecordsError(ValueError):
    """Records that can't be given back; whose, and how many."""

    def __init__(self, lost: Counter[Owner]) -> None:
        super().__init__(f"{lost.total()} spooled frames are damaged")
        self.lost = lost


class Spool:
    """Read, send, `release` when acknowledged: a frame leaves the disk only then. Not thread-safe, but for what
    `begin_checkpoint` returns."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        """Raises SpoolInUseError, NewerSpoolError, or OSError when the folder can't be used."""
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = _lock(folder)
        self._own = os.fstat(self._lock)
        self._folder = folder
        self._device = _device(folder)
        self._astray: tuple[int, str] | None = None
        """Why its paths do not lead to it now, as where a disk was mounted over it."""
        self.max_bytes = max_bytes
        self._segment_bytes = max_bytes // _SEGMENTS
        # Both are filled again by a checkpoint that failed, on its own thread.
        self._garbage: deque[Segment] = deque()
        self._unsynced: deque[Segment] = deque()
        self._handed_out: deque[Position] = deque()
        self._position, self.remembered = load_state(folder)
        self.found: dict[Owner, Found] = {}
        self.torn_bytes = 0
        self._segments: deque[Segment] = deque()
        self._find_segments()
        last = max((segment.number for segment in [*self._segments, *self._garbage]), default=self._position.segment)
        self._first_own = self._next_number = last + 1
        self._file_bytes = sum(segment.size_bytes for segment in self._segments)

    @property
    def unread(self) -> bool:
        return any(segment.unread for segment in self._segments)

    @property
    def empty(self) -> bool:
        return not self._handed_out and not self.unread

    @property
    def file_bytes(self) -> int:
        return self._file_bytes

    def append(self, parcel: Parcel, *, handed_out: bool = False) -> int:
        """Returns the number of the segment. `handed_out`: it is on its way already; only where nothing is unread.

        Raises SpoolFullError, or OSError for a disk that fails otherwise; the spool is then as it was.
        """
        if why := self._astray:
            raise self._elsewhere(why)
        if self._file_bytes + len(parcel.image) + _HEAD_BYTES > self.max_bytes:
            raise SpoolFullError(f"the spool {self._folder} has reached its limit of {self.max_bytes} bytes")
        segment = self._tail()
        before = segment.end
        segment.append(parcel)
        self._file_bytes += segment.end - before
        if not self._unsynced or self._unsynced[-1] is not segment:
            self._unsynced.append(segment)
        if handed_out:
            segment.read_to = segment.end
            segment.pass_over(parcel.owner)
            self._handed_out.append(Position(segment.number, segment.end))
        return segment.number

    def read(self) -> tuple[Parcel, int] | None:
        """The oldest frame not read yet and the number of its segment. Raises DamagedRecordsError, and OSError for a
        disk that fails: the frame stays, and may be asked for again."""
        segment = next((segment for segment in self._segments if segment.unread), None)
        if segment is None:
            return None
        owners = Counter(segment.unread)
        if not segment.is_open:
            self._stands()
        try:
            parcel = segment.read()
        except TornRecordError as error:
            raise DamagedRecordsError(self.pass_over()) from error
        if parcel is None:
            self._tidy()
            raise DamagedRecordsError(owners - segment.unread)
        self._handed_out.append(Position(segment.number, segment.read_to))
        if not segment.unread and segment.number < self._first_own:
            segment.close()
        return parcel, segment.number

    def pass_over(self) -> Counter[Owner]:
        """Gives up what is not read yet of the oldest segment that has any. Returns whose it was."""
        segment = next(segment for segment in self._segments if segment.unread)
        lost, segment.unread = segment.unread, Counter()
        segment.read_to = segment.end
        self._tidy()
        return lost

    def release(self) -> None:
        """The oldest frame that was read and not yet released has reached Kafka."""
        self._position = self._handed_out.popleft()
        self._tidy()

    def evict(self) -> tuple[Counter[Owner], int]:
        """Gives up the oldest segment. Returns whose unread frames were lost, and the segment's number: frames that
        were read from it are from now on in memory only, and are not to be released. Raises OSError where another's
        spool stands now: what this one has is of use still, and gives no room there."""
        self._stands()
        segment = self._segments.popleft()
        self._discard(segment)
        while self._handed_out and self._handed_out[0].segment <= segment.number:
            self._handed_out.popleft()
        self._position = Position(segment.number + 1)
        return segment.unread, segment.number

    def checkpoint(self, tallies: Mapping[Owner, Tally]) -> None:
        """Makes frames, position and tallies durable together, then deletes what is no longer needed.

        Raises OSError; the state before stays valid.
        """
        self.begin_checkpoint(tallies)()

    def begin_checkpoint(self, tallies: Mapping[Owner, Tally]) -> Callable[[], None]:
        """Takes down what is to be made durable as it stands now. Returns what does that, on any thread and before the
        next one begins: the disk may take seconds. That raises OSError, as `checkpoint` does."""
        position, garbage, unsynced = self._position, _emptied(self._garbage), _emptied(self._unsynced)
        kept = {segment.number for segment in self._segments}

        def write() -> None:
            try:
                written = [segment for segment in unsynced if segment.number in kept]
                self._stand_by(written)
                to_disk(*(segment.path for segment in written if segment.path.exists()))
                self._stands()  # the disk may have taken long, and may again
                save_state(self._folder, position, tallies)
                self._stands()
            except OSError:
                self._unsynced.extend(unsynced)
                self._garbage.extend(garbage)
                raise
            for segment in garbage:
                segment.delete()

        return write

    def free_disk(self) -> None:
        """Deletes what is no longer needed. Before a checkpoint, only in need: to a later process, what the state on
        disk still counts on would look lost. Raises OSError."""
        self._stands()
        while self._garbage:
            self._garbage.pop().delete()

    def close(self) -> None:
        for segment in [*self._segments, *self._garbage]:
            segment.close()
        os.close(self._lock)

    def _stand_by(self, written: list[Segment]) -> None:
        """Makes anew what somebody deleted: what is written to a deleted file dies with the process. Raises OSError
        where another's spool stands now, or its disk is away."""
        whole = all(one.path.exists() for one in written if one.number >= self._first_own)
        if not self._stands():
            self._folder.mkdir(parents=True, exist_ok=True)
            try:
                former, self._lock = self._lock, _lock(self._folder)
            except SpoolInUseError as error:  # who took it was faster
                self._astray = _ANOTHER
                raise self._elsewhere(_ANOTHER) from error
            self._own = os.fstat(self._lock)
            os.close(former)
            whole = False
        if not whole:
            log.error(
                "%s, or files in it, were deleted while in use, and are made anew. Frames in deleted files are lost "
                "if this worker ends before it could send them",
                self._folder,
            )
            self._first_own = self._next_number

    def _stands(self) -> bool:
        """False where somebody deleted it. Raises OSError where its paths lead to another's spool by now, or to another
        disk, so it is asked before a file is opened or deleted by its name."""
        try:
            found = True
            why = None if os.path.samestat((self._folder / _LOCK).stat(), self._own) else _ANOTHER
        except FileNotFoundError:
            found = False
            why = None if _device(self._folder) == self._device else _UNMOUNTED
        self._astray = why
        if why:
            raise self._elsewhere(why)
        return found

    def _elsewhere(self, why: tuple[int, str]) -> OSError:
        return OSError(*why, str(self._folder))

    def _find_segments(self) -> None:
        for segment in Segment.all_in(self._folder):
            if segment.number < self._position.segment:
                self._garbage.append(segment)
                continue
            start = self._position.offset if segment.number == self._position.segment else 0
            for facts in segment.scan(start):
                before = self.found.get(facts.owner, Found(0, -1))
                last_sequence = max(before.last_sequence, facts.sequence)
                self.found[facts.owner] = Found(before.frames + 1, last_sequence)
            segment.close()  # a worker that is started again and again leaves more of them than a process may have open
            self.torn_bytes += segment.size_bytes - segment.end
            self._segments.append(segment)

    def _tail(self) -> Segment:
        tail = self._segments[-1] if self._segments else None
        # Never into a former process's segment: its end may be torn.
        if tail is None or tail.number < self._first_own or tail.end >= self._segment_bytes:
            self._stands()
            tail = Segment.at(self._folder, self._next_number)
            self._next_number += 1
            self._segments.append(tail)
        return tail

    def _tidy(self) -> None:
        """Sets aside for deletion what lies wholly before the position."""
        if self.empty:
            self._position = Position(self._next_number)
        elif not self._handed_out:
            first = next(segment for segment in self._segments if segment.unread)
            self._position = Position(first.number, first.read_to)
        while self._segments and self._segments[0].number < self._position.segment:
            self._discard(self._segments.popleft())

    def _discard(self, segment: Segment) -> None:
        self._file_bytes -= segment.size_bytes
        self._garbage.append(segment)


def _emptied(segments: deque[Segment]) -> list[Segment]:
    """All of them, taken out."""
    return [segments.popleft() for _ in range(len(segments))]


def _device(folder: Path) -> int:
    """What it is on; of a deleted one, what it would be on."""
    return next(one for one in (folder, *folder.parents) if one.exists()).stat().st_dev


def _lock(folder: Path) -> int:
    descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise SpoolInUseError(
            f"spool folder {folder} is in use by another camera worker; give each worker a spool folder of its own"
        ) from error
    return descriptor
