"""How many records a poll may bring, by how long those before them took.

A batch must be done well before its worker counts as hung, and before its partitions are given to another. Sixteen
frames of five megapixels are a minute of a CPU's work, and every worker that took so many at once would die of them.
"""

_LEAST_S = 1e-6


class BatchSize:
    """Begins with one record, since nothing is known yet, and at a successor of a worker that died of too many."""

    def __init__(self, most: int, within_s: float) -> None:
        self._most = most
        self._within_s = within_s
        self.now = 1

    def took(self, records: int, seconds: float) -> None:
        if records:
            fits = records * self._within_s // max(seconds, _LEAST_S)
            self.now = max(1, min(self._most, int(fits)))
