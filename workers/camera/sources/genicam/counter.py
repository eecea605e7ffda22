"""Tells from a camera's own numbers how many of its frames nobody has seen."""

_LAST_OF_16_BITS = 0xFFFF
"""GigE Vision 1 counts from 1 to here and begins anew at 1; GigE Vision 2 and USB3 Vision count in 64 bits."""
_MOST = 10_000
"""Whoever jumps further began anew, or lost so much that its number says nothing."""


class FrameCounter:
    def __init__(self) -> None:
        self._last: int | None = None

    def missed(self, number: int) -> int:
        """How many frames lie between the last number and this one."""
        last, self._last = self._last, number
        if last is None:
            return 0
        step = number - last
        if step < 0 and last <= _LAST_OF_16_BITS:
            step += _LAST_OF_16_BITS
        return step - 1 if 1 <= step <= _MOST else 0
