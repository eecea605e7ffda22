"""Tells a PNG whose data ends in good order before its picture does, as a writer's that was cut off: Pillow leaves the
rest of the picture black, and says nothing."""

import zlib

from PIL import Image

_SIGNATURE_BYTES = 8
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""By colour type."""
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""Of an interlaced picture: where each begins, column and row, and its steps."""
_STRIDE_BYTES = 1024 * 1024


def lacks_rows(value: bytes, image: Image.Image) -> bool:
    """image: what Pillow made of it, in its own mode. Only one whose last row is empty is unpacked again, to count: an
    interlaced one always."""
    width, height = image.size
    interlaced = bool(image.info.get("interlace"))
    if not interlaced and image.crop((0, height - 1, width, height)).tobytes().strip(b"\0"):
        return False
    packed, bits = _content(value)
    passes = _PASSES if interlaced else ((0, 0, 1, 1),)
    wanted = sum(
        rows * (1 + -(-columns * bits // 8))
        for column, row, step, stride in passes
        if (columns := -(-(width - column) // step)) > 0 and (rows := -(-(height - row) // stride)) > 0
    )
    return _unpacked_bytes(packed, wanted) < wanted


def _content(value: bytes) -> tuple[bytes, int]:
    """The packed data, and the bits of a pixel."""
    at, parts, bits = _SIGNATURE_BYTES, [], 0
    while at + 8 <= len(value):
        size, kind = int.from_bytes(value[at : at + 4], "big"), value[at + 4 : at + 8]
        body = value[at + 8 : at + 8 + size]
        if kind == b"IHDR":
            bits = body[8] * _CHANNELS[body[9]]
        elif kind == b"IDAT":
            parts.append(body)
        at += 12 + size
    return b"".join(parts), bits


def _unpacked_bytes(packed: bytes, enough: int) -> int:
    """At a stretch no more than fits well into memory."""
    unpacking, found = zlib.decompressobj(), 0
    while found < enough and (part := unpacking.decompress(packed, _STRIDE_BYTES)):
        found += len(part)
        packed = unpacking.unconsumed_tail
    return found
