"""On which partition a key lies, as kafka-python and the Java client have it."""

from functools import lru_cache

from kafka.partitioner.default import murmur2


@lru_cache(10_000)  # in Python it takes longer than most of what is done for a record
def partition_of(key: bytes, partitions: int) -> int:
    return int((murmur2(key) & 0x7FFFFFFF) % partitions)
