"""Tells of records that Kafka deleted before they were read: a day's retention ended, or a partition's share of the
disk was full, while they waited.

kafka-python 3.0.12 tells of it in a line of level INFO, without their number, and reads on at the oldest that is left.
So frames that nobody scored, or scores that stopped no line, were gone and nobody heard of them.
"""

import logging
from collections.abc import Iterable
from typing import Any

from kafka import KafkaConsumer, TopicPartition

from pipeline.kafka.records import Incoming

log = logging.getLogger(__name__)


class Expired:
    def __init__(self) -> None:
        self._wanted: dict[TopicPartition, int] = {}
        """Where a partition was to be read on, and it no longer was there."""

    def watch(self, consumer: KafkaConsumer) -> None:
        subscription = consumer._subscription  # there is no public way to hear of it
        reset = subscription.request_offset_reset

        def remember(at: TopicPartition, *strategy: Any) -> None:
            position = subscription.assignment[at].position
            if position is not None and not strategy:  # else somebody seeks, or nothing was read there ever
                self._wanted[at] = position.offset
            reset(at, *strategy)

        subscription.request_offset_reset = remember

    def tell(self, batch: Iterable[Incoming]) -> int:
        """After each poll: the first record that comes says how many did not. Returns their number."""
        deleted = 0
        if not self._wanted:
            return deleted
        for record in batch:
            wanted = self._wanted.pop(TopicPartition(record.topic, record.partition), record.offset)
            if record.offset > wanted:  # below it, the log has lost its end, or was made anew
                deleted += record.offset - wanted
                log.error(
                    "%s[%d]: Kafka deleted %d records, from offset %d on, before they were read here. They are "
                    "gone: look why they had to wait so long, and at the topic's retention.ms and retention.bytes",
                    record.topic,
                    record.partition,
                    record.offset - wanted,
                    wanted,
                )
        return deleted
