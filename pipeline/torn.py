"""Tells a JPEG whose data ends before its picture does.

Pillow refuses one that breaks off. But where a lost end was filled with zeros, as by a share or a disk that failed
halfway, or where the sender put an end of its own behind what it had, as receivers of RTP do, the decoder fills the
rest of the picture, and nobody hears its warning: half a part was judged as a whole one.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

_END = b"\xff\xd9"
_START_OF_SCAN = 0xDA
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})
_BLOCK = 8
_FILL = 128
"""What the decoder makes of a block without data: mid-gray, in colour, too."""
_MORE = bytes(range(1, 255))
"""Data that goes on. It may hold no 0xFF, which begins a marker."""


def is_torn(value: bytes, pixels: NDArray[np.uint8], decode_again: Callable[[bytes], NDArray[np.uint8]]) -> bool:
    """pixels: what `decode_again(value)` makes of it.

    A picture that lost a piece in its middle, or only its finer passes, may still pass for a whole one.
    """
    scan = _scan(value)
    if value.rfind(_END, scan) < 0:  # from behind: it stands there
        return True
    rows, columns = ((side - 1) // _BLOCK * _BLOCK for side in pixels.shape[:2])
    if (pixels[rows:, columns:] != _FILL).any():
        return False
    # The last block may be as gray as that in truth. Then all was there, and more data changes nothing.
    end = value.find(_END, scan)  # the data itself holds no such bytes
    return not np.array_equal(pixels, decode_again(value[:end] + _MORE + value[end:]))


def _scan(value: bytes) -> int:
    """Where the picture's own data begins. A preview in the header has a start and an end of its own."""
    at = 2
    while at + 4 <= len(value):
        marker = value[at + 1]
        if value[at] != 0xFF or marker == _START_OF_SCAN:
            return at
        if marker == 0xFF:  # padding
            at += 1
        elif marker in _WITHOUT_LENGTH:
            at += 2
        else:
            at += 2 + int.from_bytes(value[at + 2 : at + 4], "big")
    return at
