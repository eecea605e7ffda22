"""How long to wait before the next attempt."""

import random


class Backoff:
    """Doubles from `first_s` to `most_s`, with jitter so that fifty cameras do not return in the same instant."""

    def __init__(self, first_s: float, most_s: float, rng: random.Random | None = None) -> None:
        self._first_s = first_s
        self._most_s = most_s
        self._rng = rng or random.Random()
        self.reset()

    def reset(self) -> None:
        """After a success."""
        self._next_s = self._first_s

    def next_s(self) -> float:
        wait_s = self._next_s
        self._next_s = min(self._most_s, wait_s * 2)
        return wait_s * self._rng.uniform(0.75, 1.25)
