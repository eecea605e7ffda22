"""Where partitions begin and end now, by the broker's word."""

from collections.abc import Callable, Iterable

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import RetriableError


class NotLedError(RetriableError):  # type: ignore[misc]
    """Brokers answer, and none of them leads this partition."""

    def __str__(self) -> str:
        return f"no broker leads {self.args[0]}"


def begins(consumer: KafkaConsumer, places: Iterable[TopicPartition], timeout_ms: int) -> dict[TopicPartition, int]:
    """Raises KafkaError."""
    return _asked(consumer.beginning_offsets, places, timeout_ms)


def ends(consumer: KafkaConsumer, places: Iterable[TopicPartition], timeout_ms: int) -> dict[TopicPartition, int]:
    """Raises KafkaError."""
    return _asked(consumer.end_offsets, places, timeout_ms)


def _asked(
    ask: Callable[..., dict[TopicPartition, int]], places: Iterable[TopicPartition], timeout_ms: int
) -> dict[TopicPartition, int]:
    try:
        return ask(list(places), timeout_ms=timeout_ms)
    except KeyError as error:  # kafka-python 3.0.12 asks only about partitions whose leaders it knows
        at = error.args[0]
        raise NotLedError(f"{at.topic}[{at.partition}]: its brokers are away, or it was deleted") from error
