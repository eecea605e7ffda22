"""What Kafka has deleted of the results before their frames, which nobody can answer for any more."""

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.kafka.partitioning import partition_of
from pipeline.kafka.records import Incoming


@dataclass(frozen=True)
class Deleted:
    """Up to when (Unix milliseconds) Kafka has deleted results, by partition. A busy line fills the bytes that its
    partition of `scores` may take before the frames themselves expire."""

    scores: Mapping[int, float]
    """By line."""
    dead: Mapping[int, float]
    """By camera."""

    def covers(self, record: Incoming, line_id: str | None) -> bool:
        """Whether the result of this frame may be among them: it came after the frame did."""
        found = (_until(self.scores, line_id.encode() if line_id else None), _until(self.dead, record.key))
        return record.timestamp_ms < max(found)

    def covers_deaths(self, camera_id: str, since_ms: int) -> bool:
        """Whether dead letters of this camera may be among them that came after this moment."""
        return since_ms < _until(self.dead, camera_id.encode())


NOTHING = Deleted({}, {})


def _until(deleted: Mapping[int, float], key: bytes | None) -> float:
    if not deleted:
        return 0.0
    return deleted[partition_of(key, len(deleted))] if key else max(deleted.values())
