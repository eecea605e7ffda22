"""On which partition a key lies, as kafka-python and the Java client have it."""

from kafka.partitioner.default import murmur2


def partition_of(key: bytes, partitions: int) -> int:
    return int((murmur2(key) & 0x7FFFFFFF) % partitions)
