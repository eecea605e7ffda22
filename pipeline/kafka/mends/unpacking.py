"""Bounds what a batch may hold once it is decompressed.

The broker measures a batch as it was compressed, and kafka-python decompresses it whole: 61 kB of zstd that unpack to
2 GB of zeros took 6.3 GiB of each process that read them, and of whoever took over its partition when it died of that.
"""

import gzip
import io
from collections.abc import Callable
from functools import partial
from typing import Any

import kafka.record.default_records as batches
from kafka.codec import snappy_decode
from kafka.errors import CorruptRecordError

MAX_UNPACKED_BYTES = 32 * 1024 * 1024
"""Images are compressed already, and a batch of them takes 4.1 MiB at most; a batch of events takes 1."""
_CHUNK_BYTES = 1024 * 1024


def bound_unpacking() -> None:
    """For every consumer of this process. There is no public way to do this.

    A batch that holds more raises CorruptRecordError in the place of its first record.
    """
    import lz4.frame  # here, for `connection` says better what to do where one is missing
    import zstandard

    batches.gzip_decode = partial(_unpack, lambda packed: gzip.GzipFile(fileobj=packed))
    batches.lz4_decode = partial(_unpack, lz4.frame.open)
    batches.zstd_decode = partial(
        _unpack, lambda packed: zstandard.ZstdDecompressor().stream_reader(packed, read_across_frames=True)
    )
    batches.snappy_decode = _unpack_snappy


def _unpack(opened: Callable[[io.BytesIO], Any], packed: Any) -> bytearray:
    unpacked = bytearray()
    with opened(io.BytesIO(packed)) as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            unpacked += chunk
            _check(len(unpacked))
    return unpacked


def _unpack_snappy(packed: bytes) -> bytes:
    """At once, since it grows to 21 times its size at most."""
    unpacked: bytes = snappy_decode(packed)
    _check(len(unpacked))
    return unpacked


def _check(size: int) -> None:
    if size > MAX_UNPACKED_BYTES:
        raise CorruptRecordError(f"its batch holds more than {MAX_UNPACKED_BYTES} bytes once decompressed")
