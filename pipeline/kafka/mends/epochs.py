"""Finds where to read on in a log that has lost its end, as that of a broker without copies does in a power cut.

Each record tells under which leader of its partition it was written, by a number: the epoch. Committed beside an
offset, it lets the broker tell whether what was read up to there is still what the log holds, and from where on not.
Without it a reader began anew, with a whole day of frames, or passed over the new ones that took the lost ones' places.
"""

from kafka import KafkaConsumer, OffsetAndMetadata, TopicPartition
from kafka.errors import KafkaTimeoutError


def begin_by_epoch(consumer: KafkaConsumer) -> None:
    """kafka-python 3.0.12 fetches the epoch of a committed offset and drops it. There is no public way to keep it."""
    coordinator = consumer._coordinator

    def refresh(timeout_ms: float | None = None) -> bool:
        missing = set(coordinator._subscription.missing_fetch_positions())
        try:
            committed = coordinator.fetch_committed_offsets(missing, timeout_ms=timeout_ms)
        except KafkaTimeoutError:
            return False
        for at, offset in committed.items():
            coordinator._subscription.seek(at, offset)
        return True

    coordinator.refresh_committed_offsets_if_needed = refresh


def position(consumer: KafkaConsumer, at: TopicPartition, timeout_ms: int) -> OffsetAndMetadata | None:
    """As the client's own, which tells no epoch. Raises KafkaError."""
    consumer.position(at, timeout_ms=timeout_ms)  # finds it, where it is not known yet
    found: OffsetAndMetadata | None = consumer._subscription.assignment[at].position
    return found


def seek(consumer: KafkaConsumer, at: TopicPartition, to: OffsetAndMetadata) -> None:
    """As the client's own, which takes no epoch."""
    consumer.seek(at, to.offset)
    consumer._subscription.seek(at, to)
