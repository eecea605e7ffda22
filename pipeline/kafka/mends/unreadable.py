"""Steps over what can't be made out, record by record, so that each is told of and none stops its partition.

kafka-python 3.0.12 raises for the first of them without saying where it is, and a poll after that never returns. So
each batch of a fetch is handed to it in a shape that does not raise: where a record can't be read stands one without
key, value and headers, which tells why.
"""

from collections.abc import Iterator
from typing import Any

from kafka import KafkaConsumer
from kafka.consumer.fetcher import Fetcher
from kafka.errors import CorruptRecordError
from kafka.record.default_records import DefaultRecord, DefaultRecordBatch
from kafka.record.util import decode_varint

from pipeline.kafka.records import Incoming

_REASON_CHARACTERS = 500


def step_over_unreadable(consumer: KafkaConsumer) -> None:
    """What `incoming` makes of its records tells which could not be read. There is no public way to do this.

    A batch with a wrong checksum whose own header contradicts itself still raises CorruptRecordError: nobody can tell
    where it ends. So does one of a format before Kafka 0.11.
    """
    original = Fetcher.PartitionRecords

    def partition_records(fetch_offset: int, at: Any, batches: Any, **options: Any) -> Any:
        return original(fetch_offset, at, _Batches(batches), **options)

    consumer._fetcher.PartitionRecords = partition_records


def incoming(record: Any) -> Incoming:
    """From the client library's record."""
    unreadable = record.checksum if isinstance(record.checksum, str) else None
    return Incoming(
        record.topic,
        record.partition,
        record.offset,
        record.timestamp,
        record.key,
        record.value,
        # Other clients send headers without a value, and this library takes none: not even back, into a dead letter.
        tuple((name, b"" if value is None else value) for name, value in record.headers),
        unreadable,
        record.leader_epoch,
    )


class _Batches:
    """Those of one fetch."""

    def __init__(self, batches: Any) -> None:
        self._batches = batches

    def next_batch(self) -> Any:
        batch = self._batches.next_batch()
        return _Batch(batch) if isinstance(batch, DefaultRecordBatch) else batch


class _Batch:
    """Yields a record for each one that the batch holds, whether it can be read or not."""

    def __init__(self, batch: DefaultRecordBatch) -> None:
        self._batch = batch
        self._intact = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    @property
    def is_control_batch(self) -> bool:
        # A damaged one may be taken for one that holds no records, and would be skipped in silence.
        return self._intact and bool(self._batch.is_control_batch)

    def validate_crc(self) -> bool:
        """True: a wrong checksum is told by the records."""
        self._intact = self._batch.validate_crc()
        if not self._intact and self._batch.records_count != self._batch.last_offset_delta + 1:
            raise CorruptRecordError(
                f"the batch at offset {self._batch.base_offset} is damaged, and where it ends can't be told"
            )
        return True

    def __iter__(self) -> Iterator[Any]:
        batch = self._batch
        offset = batch.base_offset
        try:
            if not self._intact:
                raise CorruptRecordError("the checksum of its batch is wrong")
            iter(batch)  # decompresses
            while batch._next_record_index < batch.records_count:
                begin = batch._pos
                try:
                    record = next(batch)
                except Exception as error:
                    self._skip_record(begin)
                    record = self._unreadable(offset, error)
                yield record
                offset = record.offset + 1
        except Exception as error:  # each codec raises errors of its own
            for rest in range(offset, batch.next_offset):
                yield self._unreadable(rest, error)

    def _skip_record(self, begin: int) -> None:
        """Raises ValueError when its length leads out of the batch."""
        batch = self._batch
        length, body = decode_varint(batch._buffer, begin)
        if length < 0 or body + length > len(batch._buffer):
            raise ValueError(f"a record of {length} bytes does not fit into its batch")
        batch._pos = body + length
        batch._next_record_index += 1

    def _unreadable(self, offset: int, error: Exception) -> "_Unreadable":
        reason = f"{type(error).__name__}: {error}"[:_REASON_CHARACTERS]
        return _Unreadable(offset, self._batch.max_timestamp, self._batch.timestamp_type, reason)


class _Unreadable(DefaultRecord):  # type: ignore[misc]
    """Tells why in the one field that a record of today's format leaves empty."""

    def __init__(self, offset: int, timestamp: int, timestamp_type: int, reason: str) -> None:
        super().__init__(0, offset, timestamp, timestamp_type, None, None, [])
        self._reason = reason

    @property
    def checksum(self) -> str:
        return self._reason
