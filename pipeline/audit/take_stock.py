"""Reads the raw topics into a `Ledger`."""

import math
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TypeVar

from pipeline.audit.accounting import CameraAccount, Ledger
from pipeline.audit.deleted import Deleted
from pipeline.groups import INSPECTION
from pipeline.kafka.consumer_groups import committed_offsets
from pipeline.kafka.reading import CLOCKS_MAY_DIFFER, Place, begins_of, places_at, read_each, read_to_end
from pipeline.settings import Settings

_T = TypeVar("_T")


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
    ledger = Ledger(
        first_offsets=_of(topics.frames.name, begins | starts),
        deleted=_deleted(settings, {place: begin for place, begin in begins.items() if place[0] in results}, starts),
        from_the_beginning=since is None,
    )
    # The order makes it sound. A frame is committed after its result is written: with the commits read first, every
    # frame below them has its result in the topics read later. A heartbeat counts frames that were published before
    # or after it: with the heartbeats read before the frames, those it calls published are there.
    committed = committed_offsets(settings, settings.group(INSPECTION))
    for topic, add in (
        (topics.heartbeats, ledger.add_heartbeat),
        (topics.frames, ledger.add_frame),
        (topics.scores, ledger.add_score),
        (topics.frames_dead, ledger.add_dead),
    ):
        for record in read_to_end(settings, [topic.name], start=starts):
            add(record)
            on_record()
    return ledger.accounts(_of(topics.frames.name, committed))


def _of(topic: str, found: Mapping[Place, _T]) -> dict[int, _T]:
    """By partition."""
    return {partition: value for (name, partition), value in found.items() if name == topic}


def _deleted(settings: Settings, begins: Mapping[Place, int], starts: Mapping[Place, int]) -> Deleted:
    """starts: where reading begins. What lies before is not missed there, deleted or not."""
    cut = [place for place, begin in begins.items() if begin > 0 and starts.get(place, 0) <= begin]
    oldest = read_each(settings, [(*place, begins[place]) for place in cut])
    until = dict.fromkeys(begins, 0.0)
    until |= {place: record.timestamp_ms if record else math.inf for place, record in zip(cut, oldest, strict=True)}
    return Deleted(_of(settings.topics.scores.name, until), _of(settings.topics.frames_dead.name, until))
