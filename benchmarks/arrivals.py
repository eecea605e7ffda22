"""When frames reached the broker, by the broker's own clock: the topic of frames is stamped on arrival."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kafka import KafkaConsumer, TopicPartition

from pipeline.kafka.connection import connection
from pipeline.settings import Settings

_TIMEOUT_MS = 10_000


def frames_arrived(settings: Settings) -> int:
    with _consumer(settings) as consumer:
        return sum(_ends(consumer, settings).values())


def arrival_span_s(settings: Settings, frames: int) -> float:
    """From the first frame's arrival to the last one's; all of one camera. Raises RuntimeError when some miss."""
    with _consumer(settings) as consumer:
        ends = _ends(consumer, settings)
        if sum(ends.values()) != frames:
            raise RuntimeError(f"{sum(ends.values())} of {frames} frames arrived")
        (filled,) = [at for at, end in ends.items() if end]
        return _arrived_at_s(consumer, filled, frames - 1) - _arrived_at_s(consumer, filled, 0)


@contextmanager
def _consumer(settings: Settings) -> Iterator[Any]:
    consumer = KafkaConsumer(**connection(settings, "bench-arrivals"), enable_auto_commit=False)
    try:
        yield consumer
    finally:
        consumer.close(timeout_ms=5_000)


def _ends(consumer: Any, settings: Settings) -> dict[TopicPartition, int]:
    topic = settings.topics.frames
    places = [TopicPartition(topic.name, partition) for partition in range(topic.partitions)]
    found: dict[TopicPartition, int] = consumer.end_offsets(places, timeout_ms=_TIMEOUT_MS)
    return found


def _arrived_at_s(consumer: Any, at: TopicPartition, offset: int) -> float:
    consumer.assign([at])
    consumer.seek(at, offset)
    record = consumer.poll(timeout_ms=_TIMEOUT_MS, max_records=1)[at][0]
    if record.offset != offset:
        raise RuntimeError(f"asked for offset {offset}, got {record.offset}")
    return float(record.timestamp) / 1000
