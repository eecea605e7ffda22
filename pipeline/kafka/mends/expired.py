"""Tells of records that Kafka deleted before they were read: a day's retention ended, or a partition's share of the
disk was full, while they waited.

kafka-python 3.0.12 tells of it in a line of level INFO, without their number, and reads on at the oldest that is left.
So frames that nobody scored, or scores that stopped no line, were gone and nobody heard of them.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from kafka import KafkaConsumer, TopicPartition

from pipeline.kafka.records import Incoming

log = logging.getLogger(__name__)


class Expired:
    def __init__(self) -> None:
        self._wanted: dict[TopicPartition, tuple[Any, int]] = {}
        """Where a partition was to be read on, and it no longer was there; with the client's own state of it."""
        self._assignment: Mapping[TopicPartition, Any] = {}

    def watch(self, consumer: KafkaConsumer) -> None:
        subscription = consumer._subscription  # there is no public way to hear of it
        reset = subscription.request_offset_reset

        def remember(at: TopicPartition, *strategy: Any) -> None:
            state: Any = subscription.assignment[at]
            if state.position is not None and not strategy:  # else somebody seeks, or nothing was read there ever
                self._wanted[at] = state, state.position.offset
            reset(at, *strategy)

        subscription.request_offset_reset = remember
        self._assignment = subscription.assignment

    def tell(self, batch: Sequence[Incoming]) -> int:
        """After each poll: where a partition is read on says how many records did not come, also where none is left
        and none comes for hours. Returns their number."""
        deleted = 0
        for at, (state, wanted) in list(self._wanted.items()):
            if state.position is None:
                continue  # the broker has not told yet where it begins
            del self._wanted[at]
            came = (r.offset for r in batch if (r.topic, r.partition) == at and r.offset >= wanted)
            gone = min(came, default=state.position.offset) - wanted
            # Below it, the log has lost its end, or was made anew. Where another member had it meanwhile, that tells.
            if gone > 0 and self._assignment.get(at) is state:
                deleted += gone
                log.error(
                    "%s[%d]: Kafka deleted %d records, from offset %d on, before they were read here. They are "
                    "gone: look why they had to wait so long, and at the topic's retention.ms and retention.bytes",
                    at.topic,
                    at.partition,
                    gone,
                    wanted,
                )
        return deleted
