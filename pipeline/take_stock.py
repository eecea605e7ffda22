"""Reads the raw topics into a `Ledger`."""

from collections.abc import Callable
from datetime import datetime, timedelta

from pipeline.accounting import CameraAccount, Ledger
from pipeline.groups import INSPECTION
from pipeline.kafka.admin import committed_offsets
from pipeline.kafka.reading import begins_of, places_at, read_to_end
from pipeline.settings import Settings

_CLOCKS_MAY_DIFFER = timedelta(minutes=2)


def take_stock(
    settings: Settings, on_record: Callable[[], None] = lambda: None, since: datetime | None = None
) -> list[CameraAccount]:
    """The account of every camera, from what Kafka holds now. Sound while frames flow.

    since: only of frames that arrived from then on. Raises KafkaUnavailableError.
    """
    topics = settings.topics
    starts = {}
    if since is not None:
        # A result is never older than its frame, but for clocks that differ.
        starts = places_at(settings, [topics.frames.name], since)
        starts |= places_at(settings, [topics.scores.name, topics.frames_dead.name], since - _CLOCKS_MAY_DIFFER)
    # By the broker's word: where all frames have expired, no record tells.
    firsts = starts or begins_of(settings, [topics.frames.name])
    ledger = Ledger(
        first_offsets={partition: first for (name, partition), first in firsts.items() if name == topics.frames.name}
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
        for record in read_to_end(settings, [topic.name], start=starts, over_unreadable=True):
            add(record)
            on_record()
    return ledger.accounts(
        {partition: offset for (name, partition), offset in committed.items() if name == topics.frames.name}
    )
