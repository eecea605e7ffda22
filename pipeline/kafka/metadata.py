"""Which partitions topics have, asked with a limit."""

from collections.abc import Iterable

from kafka import KafkaConsumer


def ask_for_partitions(consumer: KafkaConsumer, topics: Iterable[str], timeout_s: float) -> dict[str, set[int]]:
    """topic → its partitions, fresh from the broker; empty for a topic that does not exist.

    `KafkaConsumer.topics` and `partitions_for_topic` of kafka-python 3.0.12 wait for a refresh without a limit, and
    there is no public way to set one. Raises KafkaTimeoutError, and KafkaError where the broker's answer is one.
    """
    cluster, manager = consumer._cluster, consumer._manager
    of_all = cluster.need_all_topic_metadata
    cluster.need_all_topic_metadata = True
    try:
        consumer._net.run(manager.wait_for, cluster.request_update(), timeout_s * 1000)
    finally:
        cluster.need_all_topic_metadata = of_all
    return {topic: cluster.partitions_for_topic(topic) or set() for topic in topics}
