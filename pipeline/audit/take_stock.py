"""Reads the raw topics into a `Ledger`."""

import math
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TypeVar

from pipeline.audit.accounting import CameraAccount, Ledger
from pipeline.audit.deleted import Deleted
from pipeline.groups import INSPECTION
from pipeline.kafka.consumer_groups import committed_offsets
from pipeline.kafka.reading import CLOCKS_MAY_DIFFER, Place, begins_of, places_at, read_to_end
from pipeline.settings import Settings

_T = TypeVar("_T")
_Oldest = tuple[int, float]
"""Offset and arrival (Unix milliseconds)."""


def take_stock(
    settings: Settings, on_record: Callable[[], None] = lambda: None, since: datetime | None = None
) -> list[CameraAccount]:
    """The account of every camera, from what Kafka holds now. Sound while frames flow.

    since: only of frames that arrived from then on. Raises KafkaUnavailableError.
    """
    topics = settings.topics
    results = (topics.scores.name, topics.frames_dead.name)
    starts: dict[Place, int] = {}
    if since is not None:
        # A result is never older than its frame, but for clocks that differ.
        starts = places_at(settings, [topics.frames.name], since)
        starts |= places_at(settings, results, since - CLOCKS_MAY_DIFFER)
    # By the broker's word: where all frames have expired, no record tells.
    begins = begins_of(settings, [topics.frames.name, *results])
    ledger = Ledger(first_offsets=_of(topics.frames.name, begins | starts), from_the_beginning=since is None)
    # The order makes it sound. A frame is committed after its result is written: with the commits read first, every
    # frame below them has its result in the topics read later. A heartbeat counts frames that were published before
    # or after it: with the heartbeats read before the frames, those it calls published are there. And Kafka goes on
    # deleting results: with them read before the frames, what was found says which frames nobody can answer for.
    committed = committed_offsets(settings, settings.group(INSPECTION))
    oldest: dict[Place, _Oldest] = {}
    for topic, add in (
        (topics.heartbeats, ledger.add_heartbeat),
        (topics.scores, ledger.add_score),
        (topics.frames_dead, ledger.add_dead),
    ):
        for record in read_to_end(settings, [topic.name], start=starts):
            oldest.setdefault((record.topic, record.partition), (record.offset, record.timestamp_ms))
            add(record)
            on_record()
    ledger.deleted = _deleted(settings, begins, starts, oldest)
    for record in read_to_end(settings, [topics.frames.name], start=starts):
        ledger.add_frame(record)
        on_record()
    return ledger.accounts(_of(topics.frames.name, committed))


def _of(topic: str, found: Mapping[Place, _T]) -> dict[int, _T]:
    """By partition."""
    return {partition: value for (name, partition), value in found.items() if name == topic}


def _deleted(
    settings: Settings, begins: Mapping[Place, int], starts: Mapping[Place, int], oldest: Mapping[Place, _Oldest]
) -> Deleted:
    """begins: before anything was read. starts: where reading was to begin; what lies before is not missed there,
    deleted or not. oldest: what was read first."""
    scores, dead = settings.topics.scores.name, settings.topics.frames_dead.name
    until: dict[Place, float] = {}
    for place, begin in begins_of(settings, [scores, dead]).items():
        offset, timestamp_ms = oldest.get(place, (begin, math.inf))
        start = starts.get(place, 0)
        wanted = start if start > begins.get(place, 0) else 0
        until[place] = timestamp_ms if offset > wanted else 0.0
    return Deleted(_of(scores, until), _of(dead, until))
