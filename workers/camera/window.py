"""The frames between "taken for sending" and "acknowledged", in order. Their bytes are in memory and bounded."""

from collections import deque
from collections.abc import Iterator
from enum import Enum, auto

from pipeline.kafka.publisher import Receipt
from workers.camera.parcel import Parcel


class Progress(Enum):
    WAITING = auto()
    """To be sent, for the first time or again."""
    SENT = auto()
    """On its way, unless its receipt says that it has arrived."""
    REJECTED = auto()
    """Kafka will never take it."""


class Entry:
    """One frame, and how the attempt to send it stands."""

    __slots__ = ("parcel", "progress", "receipt", "refusals", "segment")

    def __init__(self, parcel: Parcel, segment: int | None) -> None:
        self.parcel = parcel
        self.segment = segment
        """Where the spool holds it too; None for a frame in memory only."""
        self.progress = Progress.WAITING
        self.receipt: Receipt | None = None
        """Of the newest attempt; what becomes of an older one no longer matters."""
        self.refusals = 0
        """How often Kafka refused it when it was sent alone."""

    @property
    def acknowledged(self) -> bool:
        receipt = self.receipt
        return receipt is not None and receipt.is_done and receipt.exception is None

    @property
    def settled(self) -> bool:
        return self.progress is Progress.REJECTED or self.acknowledged

    @property
    def failure(self) -> BaseException | None:
        """Why this attempt failed."""
        return self.receipt.exception if self.receipt is not None and self.receipt.is_done else None

    def again(self) -> None:
        self.progress = Progress.WAITING
        self.receipt = None


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
    def has_room(self) -> bool:
        return self._bytes < self._limit_bytes

    @property
    def room_bytes(self) -> int:
        return max(0, self._limit_bytes - self._bytes)

    @property
    def on_the_way(self) -> int:
        """How many have been sent and wait for their answer."""
        return sum(entry.progress is Progress.SENT and not entry.acknowledged for entry in self._entries)

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

    def rewind(self) -> None:
        """Everything not settled waits to be sent again, in the old order."""
        for entry in self._entries:
            if not entry.settled:
                entry.again()
        self._sent = 0

    def newest_in_memory_only(self) -> list[Entry]:
        """Those unsettled that could go to the end of the spool without overtaking an older frame that is there."""
        found: list[Entry] = []
        for entry in reversed(self._entries):
            if entry.segment is not None:
                break
            if not entry.settled:
                found.append(entry)
        return found[::-1]
