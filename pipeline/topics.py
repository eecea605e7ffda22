"""Which topics there are, and what each one promises: key, sizes, partitions, how long it keeps what."""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Literal

MAX_FRAME_BYTES = 4 * 1024 * 1024
"""The largest encoded image. A camera refuses a larger one; the broker would kill the producer over it."""

_ENVELOPE_BYTES = 128 * 1024
"""Room for key, headers and the record batch around a value."""
MAX_FRAME_RECORD_BYTES = MAX_FRAME_BYTES + _ENVELOPE_BYTES
MAX_DEAD_RECORD_BYTES = MAX_FRAME_RECORD_BYTES + _ENVELOPE_BYTES
MAX_EVENT_BYTES = 1024 * 1024
MAX_STATE_BYTES = 4 * 1024 * 1024
"""All that is remembered of one line. A policy may ask for more, and alerting then stores less than it knows."""

_DAY_MS = 24 * 3600 * 1000


Cleanup = Literal["delete", "compact", "compact,delete"]


@dataclass(frozen=True)
class Topic:
    """One topic as it must be. Every limit is explicit, so nothing grows without end."""

    name: str
    key: str
    """What the record key is. Records of one key stay in order."""
    partitions: int
    max_message_bytes: int
    retention_ms: int
    retention_bytes: int
    """Per partition."""
    cleanup: Cleanup = "delete"
    segment_bytes: int = 256 * 1024 * 1024
    """What is not compacted and not deleted yet: the newest file of a partition."""
    judged_by_arrival: bool = False
    """The broker's time of a record decides what becomes of it."""
    may_have_more_partitions: bool = False
    """Nothing that Andon keeps depends on where a key lies, so a broker may have been given more of them already."""

    @property
    def config(self) -> dict[str, str]:
        """As Kafka's topic settings."""
        return {
            "cleanup.policy": self.cleanup,
            "max.message.bytes": str(self.max_message_bytes),
            # By its senders' clocks a broker refuses what is an hour ahead, and deletes at once what is a week behind.
            "message.timestamp.type": "LogAppendTime",
            "retention.bytes": str(self.retention_bytes),
            "retention.ms": str(self.retention_ms),
            "segment.bytes": str(self.segment_bytes),
        }


@dataclass(frozen=True)
class Topics:
    """All topics of one factory.

    `scores`, `operations` and `line-state` share their key (the line) and their number of partitions: one alerting
    worker then holds everything that concerns a line.
    """

    frames: Topic
    frames_dead: Topic
    scores: Topic
    heartbeats: Topic
    alarms: Topic
    operations: Topic
    line_state: Topic
    line_commands: Topic
    command_replies: Topic
    shadow_commands: Topic
    """What a candidate, or a line in shadow mode, would have asked for. Apart, so that nobody acts on it by mistake."""
    audit_log: Topic

    def __iter__(self) -> Iterator[Topic]:
        return (getattr(self, field.name) for field in fields(self))


@lru_cache(64)  # asked for with each record
def topics(prefix: str = "", *, frame_partitions: int = 8, line_partitions: int = 4) -> Topics:
    """The topics of a factory. `frame_partitions` caps the number of replicas, `line_partitions` that of the
    alerting workers; neither can be lowered later. `prefix` separates factories (or tests) on one broker."""
    event_bytes = 2 * 1024**3

    def by_line(name: str, days: int) -> Topic:
        return Topic(
            f"{prefix}{name}",
            key="line_id",
            partitions=line_partitions,
            max_message_bytes=MAX_EVENT_BYTES,
            retention_ms=days * _DAY_MS,
            retention_bytes=event_bytes,
        )

    return Topics(
        frames=Topic(
            f"{prefix}frames",
            key="camera_id",
            partitions=frame_partitions,
            max_message_bytes=MAX_FRAME_RECORD_BYTES,
            retention_ms=_DAY_MS,
            retention_bytes=16 * 1024**3,
            # Lateness: a replay of the same record must be judged alike.
            judged_by_arrival=True,
            may_have_more_partitions=True,
        ),
        frames_dead=Topic(
            f"{prefix}frames.dead",
            key="camera_id",
            partitions=frame_partitions,
            max_message_bytes=MAX_DEAD_RECORD_BYTES,
            retention_ms=14 * _DAY_MS,
            retention_bytes=4 * 1024**3,
            may_have_more_partitions=True,
        ),
        scores=by_line("scores", days=7),
        heartbeats=Topic(
            f"{prefix}heartbeats",
            key="camera_id:boot_id",
            partitions=1,
            max_message_bytes=MAX_EVENT_BYTES,
            retention_ms=14 * _DAY_MS,
            retention_bytes=event_bytes,
            cleanup="compact,delete",
        ),
        alarms=by_line("alarms", days=90),
        operations=by_line("operations", days=90),
        line_state=replace(
            by_line("line-state", days=90),
            max_message_bytes=MAX_STATE_BYTES + _ENVELOPE_BYTES,
            # Never deleted, or a quiet line would forget its latched alarm; one record a line remains.
            cleanup="compact",
            # A takeover reads all that is not compacted yet.
            segment_bytes=16 * 1024 * 1024,
        ),
        line_commands=by_line("line-commands", days=90),
        command_replies=by_line("command-replies", days=90),
        shadow_commands=by_line("shadow-commands", days=90),
        # Only ever added to, and never deleted by Andon.
        audit_log=replace(by_line("audit-log", days=90), retention_ms=-1, retention_bytes=-1),
    )
