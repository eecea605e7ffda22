"""Reads the raw topics into a `Ledger`."""

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TypeVar

from pipeline.audit.accounting import CameraAccount, Ledger
from pipeline.audit.deleted import Deleted, Reading
from pipeline.events import now, to_ms
from pipeline.groups import INSPECTION
from pipeline.kafka.admin import retention_of
from pipeline.kafka.consumer_groups import committed_offsets
from pipeline.kafka.reading import CLOCKS_MAY_DIFFER, Place, kept_of, places_at, read_to_end
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
    begins = {at: held.start for at, held in kept_of(settings, [topics.frames.name, *results]).items()}
    ledger = Ledger(first_offsets=_of(topics.frames.name, begins | starts), from_the_beginning=since is None)
    # The order makes it sound. A frame is committed after its result is written: with the commits read first, every
    # frame below them has its result in the topics read later. A heartbeat counts frames that were published before
    # or after it: with the heartbeats read before the frames, those it calls published are there. And Kafka goes on
    # deleting results: with them read before the frames, what was found says which frames nobody can answer for.
    # A camera sends a heartbeat before its first frame: one without any, even after the frames were read, sends none.
    committed = committed_offsets(settings, settings.group(INSPECTION))
    # What lies before `starts` is not missed there, deleted or not.
    reading = Reading({at: start for at in begins if (start := starts.get(at, 0)) > begins[at]})
    read_to: dict[Place, int] = {}
    for topic, add in (
        (topics.heartbeats, ledger.add_heartbeat),
        (topics.scores, ledger.add_score),
        (topics.frames_dead, ledger.add_dead),
    ):
        for record in read_to_end(settings, [topic.name], start=starts):
            reading.take(record)
            add(record)
            read_to[record.topic, record.partition] = record.offset + 1
            on_record()
    until = reading.deleted_until(kept_of(settings, results), *_limits(settings, results))
    ledger.deleted = Deleted(_of(topics.scores.name, until), _of(topics.frames_dead.name, until))
    for record in read_to_end(settings, [topics.frames.name], start=starts):
        ledger.add_frame(record)
        on_record()
    for record in read_to_end(settings, [topics.heartbeats.name], start=read_to):
        ledger.add_later_heartbeat(record)
        on_record()
    return ledger.accounts(_of(topics.frames.name, committed))


def _of(topic: str, found: Mapping[Place, _T]) -> dict[int, _T]:
    """By partition."""
    return {partition: value for (name, partition), value in found.items() if name == topic}


def _limits(settings: Settings, topics: Sequence[str]) -> tuple[dict[str, float], dict[str, float]]:
    """Topic → up to when (Unix milliseconds) Kafka may have deleted its records for their age, and → how many bytes a
    partition may hold before it deletes for their number."""
    latest_ms = to_ms(now() + CLOCKS_MAY_DIFFER)
    found = retention_of(settings, topics)
    expired = {topic: float(latest_ms - kept_ms) for topic, (kept_ms, _) in found.items() if kept_ms >= 0}
    room = {topic: most if most >= 0 else math.inf for topic, (_, most) in found.items()}
    return expired, room
