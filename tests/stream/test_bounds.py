"""Where partitions begin and end, also while one has no leader: its brokers are away, or its topic was deleted."""

import pytest
from kafka import KafkaAdminClient, TopicPartition
from kafka.admin import NewTopic
from support.stream import settings_for

from pipeline.kafka.connection import connection, no_answer
from pipeline.kafka.mends import bounds
from pipeline.kafka.opening import open_consumer

pytestmark = pytest.mark.services


def test_a_partition_without_a_leader_is_named_by_an_error_that_passes(kafka_bootstrap: str, unique: str) -> None:
    """It was a KeyError, which ended alerting and replicas."""
    client = KafkaAdminClient(bootstrap_servers=kafka_bootstrap.split(","))
    client.create_topics([NewTopic(unique, 1, 1)])
    client.close()
    consumer = open_consumer(**connection(settings_for(kafka_bootstrap, unique), "test"))
    try:
        led, not_led = TopicPartition(unique, 0), TopicPartition(f"{unique}-gone", 0)
        assert bounds.begins(consumer, [led], 10_000) == bounds.ends(consumer, [led], 10_000) == {led: 0}
        for ask in (bounds.begins, bounds.ends):
            with pytest.raises(bounds.NotLedError, match=rf"^no broker leads {unique}-gone\[0\]") as raised:
                ask(consumer, [led, not_led], 10_000)
            assert raised.value.retriable
            told = str(no_answer(settings_for(kafka_bootstrap, unique), raised.value))
            assert told.startswith(f"Kafka answers at {kafka_bootstrap}, but no broker leads {unique}-gone[0]: ")
    finally:
        consumer.close()
