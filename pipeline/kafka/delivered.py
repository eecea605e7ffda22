"""What was delivered and is not committed yet."""

from collections import Counter
from collections.abc import Collection, Sequence

from kafka import OffsetAndMetadata, TopicPartition

from pipeline.kafka.records import Incoming


class Delivered:
    """How far each partition is, and how many records that were. Holds none of them: they may be megabytes each."""

    def __init__(self) -> None:
        self._ends: dict[TopicPartition, OffsetAndMetadata] = {}
        self._records: Counter[TopicPartition] = Counter()

    def add(self, batch: Sequence[Incoming]) -> None:
        """Of later batches than those before."""
        for record in batch:
            at = TopicPartition(record.topic, record.partition)
            self._ends[at] = OffsetAndMetadata(record.offset + 1, "", record.leader_epoch)
            self._records[at] += 1

    def taken(self, ours: Collection[TopicPartition]) -> tuple[dict[TopicPartition, OffsetAndMetadata], int]:
        """What to commit of these partitions, and the number of records. The rest is forgotten with it."""
        ends = {at: end for at, end in self._ends.items() if at in ours}
        records = sum(self._records[at] for at in ends)
        self._ends, self._records = {}, Counter()
        return ends, records
