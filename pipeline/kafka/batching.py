"""How many records a poll may bring, by how long those before them took, and how many of these are worked on at once.

A batch must be done well before its worker counts as hung, and before its partitions are given to another. Sixteen
frames of five megapixels are a minute of a CPU's work, and every worker that took so many at once would die of them.
"""

from collections.abc import Sequence

_LEAST_S = 1e-6
_LONG_S = 2.5
"""A batch that is foretold to take longer is cut. Far below what counts as hung, and below the `max_age_s` of a line,
beyond which no frame stops it: a batch is delivered whole, and foretold roughly. Above what a batch is made to take,
since what is put back is read again."""


class BatchSize:
    """Begins with one record, since nothing is known yet, and at a successor of a worker that died of too many."""

    def __init__(self, most: int, within_s: float) -> None:
        self._most = most
        self._within_s = within_s
        self.now = 1
        self._weight = 0.0
        self._s_a_weight = 0.0

    def cut(self, weights: Sequence[float]) -> int:
        """How many of these records to work on, one at least: as many as before may be far heavier, and all would
        count as hung, where cameras send pictures of other sizes."""
        self._weight = 0.0
        for number, weight in enumerate(weights):
            if number and (self._weight + weight) * self._s_a_weight > _LONG_S:
                return number
            self._weight += weight
        return len(weights)

    def took(self, records: int, seconds: float) -> None:
        """Of the batch that was cut last."""
        if self._weight:
            self._s_a_weight = seconds / self._weight
        if records:
            fits = records * self._within_s // max(seconds, _LEAST_S)
            self.now = max(1, min(self._most, int(fits)))
