"""What was delivered and is not committed yet."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

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

    @property
    def ends(self) -> Mapping[TopicPartition, OffsetAndMetadata]:
        """What to commit."""
        return self._ends

    def keep(self, ours: Iterable[TopicPartition]) -> None:
        """The rest is forgotten: another owner may be further on."""
        for at in self._ends.keys() - set(ours):
            del self._ends[at], self._records[at]

    def committed(self, ends: Mapping[TopicPartition, OffsetAndMetadata]) -> int:
        """Up to there. Returns how many records that were."""
        done = [at for at, end in self._ends.items() if at in ends and end.offset <= ends[at].offset]
        for at in done:
            del self._ends[at]
        return sum(self._records.pop(at) for at in done)
