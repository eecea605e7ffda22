"""What names a frame for ever: the boot it came from and its number in it."""

import secrets
from datetime import datetime

from crc32c import crc32c

from pipeline.events import to_ms

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_TIME_DIGITS = 9
"""Enough for milliseconds until the year 5188; a fixed width makes text order time order."""


def new_boot_id(started_at: datetime) -> str:
    """Sorts by start time. The random end tells apart two workers that start in the same millisecond."""
    tail = "".join(secrets.choice(_DIGITS) for _ in range(4))
    return f"{_base36(to_ms(started_at))}-{tail}"


def _base36(number: int) -> str:
    text = ""
    for _ in range(_TIME_DIGITS):
        number, digit = divmod(number, 36)
        text = _DIGITS[digit] + text
    return text


class Repeats:
    """Counts how many frames in a row, directly before this one, held the same bytes."""

    def __init__(self) -> None:
        self._last: tuple[int, int] | None = None
        self._run = 0

    def of(self, image: bytes) -> int:
        # Keeps no second copy of the frame. CRC-32C takes 4 µs for 100 KB, where hash() takes 41 µs.
        print_of_image = len(image), crc32c(image)
        self._run = self._run + 1 if print_of_image == self._last else 0
        self._last = print_of_image
        return self._run
