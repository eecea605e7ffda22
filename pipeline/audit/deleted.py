"""What Kafka has deleted of the results before their frames, which nobody can answer for any more."""

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.kafka.partitioning import partition_of
from pipeline.kafka.reading import Place
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


class Reading:
    """Goes along while results are read, and marks what is left out. Kafka deleted that before it could be read: each
    offset of `scores` and `frames.dead` had a record, since neither is compacted, and nothing uses transactions."""

    def __init__(self, starts: Mapping[Place, int]) -> None:
        """starts: the offsets from which on nothing is to be left out; 0 where none is given."""
        self._next = dict(starts)
        self._until: dict[Place, float] = {}
        self._bytes: dict[Place, int] = defaultdict(int)

    def take(self, record: Incoming) -> None:
        place = (record.topic, record.partition)
        if record.offset > self._next.get(place, 0):
            self._until[place] = record.timestamp_ms
        self._next[place] = record.offset + 1
        headers = sum(len(name) + len(value or b"") for name, value in record.headers)
        self._bytes[place] += len(record.key or b"") + len(record.value or b"") + headers

    def deleted_until(
        self, kept: Mapping[Place, range], expired: Mapping[str, float], room: Mapping[str, float]
    ) -> dict[Place, float]:
        """By partition (Unix milliseconds). kept: the offsets of each, after it was read. expired: topic → up to when
        its records were too old to be kept; where none is given, they may have come at any time. room: topic → bytes
        that a partition may hold; where none is given, it may be full."""
        until = {}
        for place, held in kept.items():
            until[place] = self._until.get(place, 0.0)
            by_age = expired.get(place[0], math.inf)
            # Only age empties a partition: of a full one, Kafka leaves as much as it may hold. So one that holds less
            # lost by age what it lost last, and a first dead letter after weeks hides nothing. A hand empties it, too;
            # what that deleted of late is called missing, as with a topic that was made anew.
            if held.start > self._next.get(place, 0):
                until[place] = math.inf if held else by_age
            elif 2 * self._bytes[place] < room.get(place[0], 0):  # twice: on the disk each takes a little more
                until[place] = min(until[place], by_age)
        return until


def _until(deleted: Mapping[int, float], key: bytes | None) -> float:
    if not deleted:
        return 0.0
    return deleted[partition_of(key, len(deleted))] if key else max(deleted.values())
