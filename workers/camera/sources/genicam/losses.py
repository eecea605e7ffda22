"""How many of a camera's frames nobody will see: by its own numbers, in part, or too many at once."""

_LAST_OF_16_BITS = 0xFFFF
"""GigE Vision 1 counts from 1 to here and begins anew at 1; GigE Vision 2 and USB3 Vision count in 64 bits."""
_MOST = 10_000
"""Whoever jumps further began anew, or lost so much that its number says nothing."""


class Losses:
    def __init__(self) -> None:
        self.untold = 0
        self._last: int | None = None
        self._in_part = 0
        """Since the last whole one. Their numbers are missing, too, and are not to count again."""

    def in_part(self) -> None:
        """A frame came of which something is missing."""
        self._in_part += 1
        self.untold += 1

    def whole(self, number: int | None) -> None:
        """A frame came. Its number is None where the producer gives none."""
        self.untold += max(0, self._missing_before(number) - self._in_part)
        self._in_part = 0

    def not_taken(self) -> None:
        """A frame that came could not be worked on."""
        self.untold += 1

    def told(self, frames: int) -> None:
        self.untold -= frames

    def _missing_before(self, number: int | None) -> int:
        if number is None:
            return 0
        last, self._last = self._last, number
        if last is None:
            return 0
        step = number - last
        if step < 0 and _LAST_OF_16_BITS - _MOST < last <= _LAST_OF_16_BITS:
            step += _LAST_OF_16_BITS
        elif -_MOST < step < 0 and number > _MOST:
            self._last = last  # it was overtaken by the one before
        return step - 1 if 1 <= step <= _MOST else 0
