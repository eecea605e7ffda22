"""The frames between "taken for sending" and "acknowledged", in order. Their bytes are in memory and bounded."""

from collections import deque
from collections.abc import Iterator
from enum import Enum, auto

from workers.camera.parcel import Parcel


class Progress(Enum):
    WAITING = auto()
    """To be sent, for the first time or again."""
    SENT = auto()
    ACKNOWLEDGED = auto()
    REJECTED = auto()
    """Kafka will never take it."""
    ABANDONED = auto()
    """A copy of this entry is sent anew; what becomes of this attempt no longer matters."""


class Entry:
    """One attempt to send one frame."""

    __slots__ = ("parcel", "progress", "refusals", "segment")

    def __init__(self, parcel: Parcel, segment: int | None, refusals: int = 0) -> None:
        self.parcel = parcel
        self.segment = segment
        """Where the spool holds it too; None for a frame in memory only."""
        self.progress = Progress.WAITING
        self.refusals = refusals
        """How often Kafka refused it when it was sent alone."""

    @property
    def settled(self) -> bool:
        return self.progress is Progress.ACKNOWLEDGED or self.progress is Progress.REJECTED


class Window:
    """First in, first out. Acknowledgements may come in any order; frames leave in theirs."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._entries: deque[Entry] = deque()
        self._bytes = 0
        self._sent = 0
        """The first so many entries need no sending."""

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries)

    @property
    def size_bytes(self) -> int:
        return self._bytes

    @property
    def has_room(self) -> bool:
        return self._bytes < self._limit_bytes

    @property
    def on_the_way(self) -> int:
        """How many have been sent and wait for their answer."""
        return sum(entry.progress is Progress.SENT for entry in self._entries)

    def add(self, entry: Entry) -> None:
        self._entries.append(entry)
        self._bytes += entry.parcel.size_bytes

    def next_waiting(self) -> Entry | None:
        while self._sent < len(self._entries):
            entry = self._entries[self._sent]
            if entry.progress is Progress.WAITING:
                return entry
            self._sent += 1
        return None

    def pop_settled(self) -> Entry | None:
        """The oldest, once Kafka has answered for it."""
        if not self._entries or not self._entries[0].settled:
            return None
        return self.pop()

    def pop(self) -> Entry:
        entry = self._entries.popleft()
        self._bytes -= entry.parcel.size_bytes
        self._sent = max(0, self._sent - 1)
        return entry

    def rewind(self) -> int:
        """Everything not settled waits to be sent again, in the old order. Returns how many that are."""
        renewed: deque[Entry] = deque()
        for entry in self._entries:
            if entry.settled:
                renewed.append(entry)
                continue
            renewed.append(Entry(entry.parcel, entry.segment, entry.refusals))
            entry.progress = Progress.ABANDONED
        self._entries = renewed
        self._sent = 0
        return sum(not entry.settled for entry in renewed)

    def newest_in_memory_only(self) -> list[Entry]:
        """Those unsettled that could go to the end of the spool without overtaking an older frame that is there."""
        found: list[Entry] = []
        for entry in reversed(self._entries):
            if entry.segment is not None:
                break
            if not entry.settled:
                found.append(entry)
        return found[::-1]
