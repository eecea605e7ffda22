"""Records as the rest of Andon sees them: plain values, no client library."""

from collections.abc import Sequence
from dataclasses import dataclass

Headers = Sequence[tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A record to publish."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


@dataclass(frozen=True, slots=True)
class Incoming:
    """A record as read."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    unreadable: str | None = None
    """Why it can't be read: nothing but its place is known then."""
    leader_epoch: int = -1
    """Under which leader of its partition it was written; see `pipeline.kafka.mends.epochs`."""

    @property
    def place(self) -> str:
        return f"{self.topic}[{self.partition}]@{self.offset}"
