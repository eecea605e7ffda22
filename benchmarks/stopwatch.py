"""Times whole turns of a loop: from the moment a batch is there to the moment the next one is."""

import time
from collections.abc import Iterable

_ONE_BATCH_MS = 20
"""Frames of one batch are stamped within milliseconds."""


class Stopwatch:
    """Start-up and the last, unfinished turn stay out of the rate."""

    def __init__(self, frames: int) -> None:
        self._frames = frames
        self._seen = 0
        self._marks: list[tuple[float, int]] = []

    def batch(self, size: int) -> None:
        """To be called when a batch has come, before anything is done with it."""
        self._marks.append((time.perf_counter(), self._seen))
        self._seen += size

    @property
    def complete(self) -> bool:
        return self._seen >= self._frames

    @property
    def frames_per_s(self) -> float:
        """Raises RuntimeError when too little came."""
        if not self.complete or len(self._marks) < 2:
            raise RuntimeError(f"only {self._seen} of {self._frames} frames came, in {len(self._marks)} batches")
        (begun, _), (ended, finished) = self._marks[0], self._marks[-1]
        return finished / (ended - begun)


def rate_after_first_batch(moments_ms: Iterable[float]) -> float:
    """Frames/s of frames that were scored at these moments. The first batch only starts the clock. Raises RuntimeError
    when no other came."""
    moments = sorted(moments_ms)
    later = sum(at - moments[0] >= _ONE_BATCH_MS for at in moments)
    if not later:
        raise RuntimeError(f"{len(moments)} frames, all in one batch, tell no rate: let more wait")
    return later / (moments[-1] - moments[0]) * 1000
