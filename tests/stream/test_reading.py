"""Topics are read to their end also while brokers are restarted one after the other."""

from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
from kafka import KafkaConsumer
from kafka.errors import KafkaConnectionError
from support.stream import settings_for

from pipeline.kafka import reading
from pipeline.kafka.admin import ensure_topics
from pipeline.kafka.publisher import Publisher
from pipeline.kafka.records import Outgoing

pytestmark = pytest.mark.services


def hanging_up_once(ask: Callable[..., Any]) -> Callable[..., Any]:
    """As a broker does that is shut down, or that holds new connections off by a quota."""
    left = [KafkaConnectionError("111 ECONNREFUSED")]

    def hang_up(*arguments: Any, **options: Any) -> Any:
        if left:
            raise left.pop()
        return ask(*arguments, **options)

    return hang_up


@pytest.mark.parametrize("call", ["metadata", "poll", "position"])
def test_a_broker_that_hangs_up_ends_no_reading(
    call: str, kafka_bootstrap: str, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`andon audit` reads for minutes on a large plant: of six audits during a rolling restart three told nothing."""
    settings = settings_for(kafka_bootstrap, unique, frame_partitions=1)
    topic = settings.topics.frames
    ensure_topics(settings, [topic])
    with closing(Publisher(settings, "test")) as publisher:
        publisher.publish(Outgoing(topic.name, b"k", bytes([i])) for i in range(5))
    owner, name = (reading, "ask_for_partitions") if call == "metadata" else (KafkaConsumer, call)
    monkeypatch.setattr(owner, name, hanging_up_once(getattr(owner, name)))
    assert [record.offset for record in reading.read_to_end(settings, [topic.name])] == list(range(5))
