"""The scores of one line over the last hours, read from Kafka when a person asks for them. Bounded."""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Lock

from pipeline.events import ContractError, Score, now
from pipeline.kafka.partitioning import partition_of
from pipeline.kafka.reading import CLOCKS_MAY_DIFFER, ends_of, places_at, read_to_end
from pipeline.settings import Settings
from workers.console.whatif import Shot, shot

MAX_SHOTS = 20_000
_KEPT = 4
_FRESH_S = 60.0


@dataclass(frozen=True)
class History:
    line_id: str
    since: datetime
    shots: tuple[Shot, ...]
    cut: bool
    """Older scores of the span were left out: only the newest `MAX_SHOTS` are looked at."""


class Histories:
    """Remembers a few for a minute, so that dragging a threshold does not read Kafka anew. Thread-safe."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._kept: OrderedDict[tuple[str, float], tuple[float, History]] = OrderedDict()
        self._lock = Lock()

    def of(self, line_id: str, hours: float) -> History:
        """Raises KafkaUnavailableError."""
        with self._lock:  # one at a time: each may be tens of thousands of records
            key = (line_id, hours)
            read_at, found = self._kept.get(key, (0.0, None))
            if found is None or time.monotonic() - read_at > _FRESH_S:
                found = self._read(line_id, hours)
                self._kept[key] = (time.monotonic(), found)
                while len(self._kept) > _KEPT:
                    self._kept.popitem(last=False)
            return found

    def find(self, frame_id: str, line_id: str, arrived_at: datetime) -> Score | None:
        """The score of one frame that the page's own memory has let go, and which came to Kafka after the frame itself.
        Looks at `MAX_SHOTS` records at most."""
        topic, partition = self._place(line_id)
        start = places_at(self._settings, [topic], arrived_at - CLOCKS_MAY_DIFFER)
        records = read_to_end(self._settings, [topic], partitions=[partition], start=start)
        for _, record in zip(range(MAX_SHOTS), records, strict=False):
            if frame_id.encode() in (record.value or b""):
                with suppress(ContractError):
                    score = Score.from_json(record.value)
                    if score.frame_id == frame_id:
                        return score
        return None

    def _read(self, line_id: str, hours: float) -> History:
        topic, partition = self._place(line_id)
        since = now() - timedelta(hours=hours)
        begin = places_at(self._settings, [topic], since).get((topic, partition), 0)
        end = ends_of(self._settings, [topic]).get((topic, partition), 0)
        start = max(begin, end - 4 * MAX_SHOTS)  # a partition may hold several lines
        shots: deque[Shot] = deque(maxlen=MAX_SHOTS)
        total = 0
        counted: dict[tuple[str, str], int] = {}
        for record in read_to_end(self._settings, [topic], partitions=[partition], start={(topic, partition): start}):
            with suppress(ContractError):
                score = Score.from_json(record.value)
                boot = (score.camera_id, score.boot_id)
                if score.line_id == line_id and score.sequence > counted.get(boot, -1):
                    counted[boot] = score.sequence
                    shots.append(shot(score))
                    total += 1
        return History(line_id, since, tuple(shots), total > len(shots) or start > begin)

    def _place(self, line_id: str) -> tuple[str, int]:
        topic = self._settings.topics.scores
        return topic.name, partition_of(line_id.encode(), topic.partitions)
