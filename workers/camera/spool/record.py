"""One spooled frame on disk: lengths and checksums, then its Kafka headers as JSON, then the image as it is.

A power cut leaves a torn last record, or one whose bytes never reached the disk; both fail their checksum.
"""

import json
import struct
import zlib
from dataclasses import dataclass

from workers.camera.parcel import Owner, Parcel

PREFIX = struct.Struct("<4sIIII")
"""Mark, length of the facts, length of the image, checksum of mark to facts, checksum of the image."""
_LENGTHS = struct.Struct("<4sII")
_MARK = b"AFS1"
MAX_FACTS_BYTES = 64 * 1024


class TornRecordError(ValueError):
    """What stands here is no whole record."""


@dataclass(frozen=True, slots=True)
class Prefix:
    facts_bytes: int
    image_bytes: int
    facts_checksum: int
    image_checksum: int


@dataclass(frozen=True, slots=True)
class Facts:
    owner: Owner
    sequence: int
    headers: list[tuple[str, bytes]]


def encode(parcel: Parcel) -> bytes:
    """All that comes before the image."""
    facts = json.dumps({name: value.decode() for name, value in parcel.headers}).encode()
    checksum = _facts_checksum(len(facts), len(parcel.image), facts)
    return PREFIX.pack(_MARK, len(facts), len(parcel.image), checksum, zlib.crc32(parcel.image)) + facts


def decode_prefix(content: bytes) -> Prefix:
    """Raises TornRecordError."""
    if len(content) != PREFIX.size:
        raise TornRecordError("the record is cut off")
    mark, facts_bytes, image_bytes, facts_checksum, image_checksum = PREFIX.unpack(content)
    if mark != _MARK or facts_bytes > MAX_FACTS_BYTES:
        raise TornRecordError("no record starts here")
    return Prefix(facts_bytes, image_bytes, facts_checksum, image_checksum)


def decode_facts(prefix: Prefix, content: bytes) -> Facts:
    """Raises TornRecordError."""
    if _facts_checksum(prefix.facts_bytes, prefix.image_bytes, content) != prefix.facts_checksum:
        raise TornRecordError("the checksum of the headers is wrong")
    headers: dict[str, str] = json.loads(content)
    owner = Owner(headers["camera_id"], headers["line_id"], headers["boot_id"])
    return Facts(owner, int(headers["sequence"]), [(name, value.encode()) for name, value in headers.items()])


def image_is_whole(prefix: Prefix, image: bytes) -> bool:
    return len(image) == prefix.image_bytes and zlib.crc32(image) == prefix.image_checksum


def _facts_checksum(facts_bytes: int, image_bytes: int, facts: bytes) -> int:
    return zlib.crc32(facts, zlib.crc32(_LENGTHS.pack(_MARK, facts_bytes, image_bytes)))
