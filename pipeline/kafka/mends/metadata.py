"""Which partitions topics have: asked with a limit, or as far as is known."""

from collections.abc import Iterable, Sequence
from contextlib import suppress

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import UnknownTopicOrPartitionError


def ask_for_partitions(consumer: KafkaConsumer, topics: Iterable[str], timeout_s: float) -> dict[str, set[int]]:
    """topic → its partitions, fresh from the broker; empty for a topic that does not exist.

    `KafkaConsumer.topics` and `partitions_for_topic` of kafka-python 3.0.12 wait for a refresh without a limit, and
    there is no public way to set one. Raises KafkaTimeoutError, or KafkaError where the broker's answer is one.
    """
    cluster = consumer._cluster

    def refresh() -> None:
        consumer._net.run(consumer._manager.wait_for, cluster.request_update(), timeout_s * 1000)

    of_all = cluster.need_all_topic_metadata
    cluster.need_all_topic_metadata = True
    try:
        if cluster.metadata_refresh_in_progress:  # asked for others; what begins from here on asks for all
            with suppress(UnknownTopicOrPartitionError):  # so one ends that asked for one topic, which is not there
                refresh()
        refresh()
    finally:
        cluster.need_all_topic_metadata = of_all
    return {topic: cluster.partitions_for_topic(topic) or set() for topic in topics}


def known_now(consumer: KafkaConsumer, places: Sequence[TopicPartition]) -> list[TopicPartition]:
    """Those of the same topics as the newest metadata tell, which kafka-python refreshes as it polls: there is no
    public way to ask for no more than that. A topic that they do not tell of keeps its places: it is made anew, or its
    broker is away."""
    found = []
    for topic in dict.fromkeys(at.topic for at in places):
        told = consumer._cluster.partitions_for_topic(topic)
        found += (
            sorted(TopicPartition(topic, part) for part in told) if told else [at for at in places if at.topic == topic]
        )
    return found
