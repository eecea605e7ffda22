"""Reads on, after a pause, what kafka-python 3.0.12 had set aside for it.

Records that the client has of a paused partition are parked, and no more of it are fetched until they were taken out
again. They are taken out only while nothing is in line; a partition whose records came in line meanwhile, as one does
that a rebalance has just brought, stays in line when it is used up. Then the parked one was never read again: its
cameras went blind, although the partition was ours, while Kafka, Redis and the others were well.
"""

from kafka import KafkaConsumer


def unpark(consumer: KafkaConsumer) -> None:
    """Before each poll. There is no public way to do this."""
    fetcher = consumer._fetcher
    if not fetcher._next_partition_records:  # None, or used up
        fetcher._next_partition_records = None
