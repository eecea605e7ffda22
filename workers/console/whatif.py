"""What another threshold would have done with the scores of the last hours. Pure.

The debounce is alerting's own (`workers.alerting.core.window`). Nobody resets a trial: its stop is over once its
window is no longer full, as with alerting's candidates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from pipeline.events import Score, Verdict
from pipeline.verdicts import verdict_of
from workers.alerting.core.window import Window, add_part, count_bad


@dataclass(frozen=True, slots=True)
class Shot:
    """What a trial needs of a score."""

    frame_id: str
    camera_id: str
    part_id: str
    captured_at: datetime
    score: float | None
    verdict: Verdict
    threshold: float
    model_hash: str
    recipe: str


def shot(score: Score) -> Shot:
    return Shot(
        score.frame_id,
        score.camera_id,
        score.part_id,
        score.captured_at,
        score.score,
        score.verdict,
        score.threshold,
        score.model.hash,
        score.recipe,
    )


@dataclass(frozen=True)
class WouldStop:
    camera_id: str
    at: datetime
    frame_id: str


@dataclass(frozen=True)
class TriedThreshold:
    threshold: float
    judged: int
    not_ok: int
    stops: tuple[WouldStop, ...]

    @property
    def share(self) -> float:
        return self.not_ok / self.judged if self.judged else 0.0


def try_threshold(shots: Sequence[Shot], threshold: float, k: int, n: int) -> TriedThreshold:
    """`shots` in the order of each camera. Stops: k of the last n parts of one camera at or above the threshold."""
    windows: dict[str, Window] = {}
    full: set[str] = set()
    stops: list[WouldStop] = []
    judged = bad = 0
    for one in shots:
        if one.score is None or one.verdict is Verdict.NOT_DECIDABLE:
            continue
        judged += 1
        verdict = verdict_of(one.score, threshold)
        bad += verdict is Verdict.NOT_OK
        # Only what the window looks at: building a whole Score for each of many thousands takes ten times as long.
        seen: dict[str, Any] = {
            "part_id": one.part_id,
            "verdict": verdict,
            "frame_id": one.frame_id,
            "map_key": None,
        }
        rescored = Score.model_construct(**seen)
        window = windows[one.camera_id] = add_part(windows.get(one.camera_id, ()), rescored, n)
        if count_bad(window) < k:
            full.discard(one.camera_id)
        elif verdict is Verdict.NOT_OK and one.camera_id not in full:
            full.add(one.camera_id)
            stops.append(WouldStop(one.camera_id, one.captured_at, one.frame_id))
    return TriedThreshold(threshold, judged, bad, tuple(stops))


@dataclass(frozen=True)
class Histogram:
    """Counts of scores in equal bins from `low` to `high`. A score beyond an end counts in the last bin there."""

    low: float
    high: float
    counts: tuple[int, ...]

    @property
    def tallest(self) -> int:
        return max(self.counts, default=0) or 1

    def place(self, score: float) -> float:
        """0 … 1 along the axis."""
        return min(1.0, max(0.0, (score - self.low) / (self.high - self.low or 1.0)))


def histogram(shots: Sequence[Shot], threshold: float, bins: int = 60) -> Histogram:
    """From the lowest score to the highest, with the threshold in view. The outermost half per mille does not stretch
    the axis."""
    scores = np.array([one.score for one in shots if one.score is not None], dtype=np.float64)
    if not len(scores):
        return Histogram(threshold - 1, threshold + 1, (0,) * bins)
    low, high = np.quantile(scores, (0.0005, 0.9995))
    reach = max(float(high) - float(low), 1e-12)
    # A little beyond the outermost score, so that a threshold can be dragged past all of them.
    low, high = min(float(low) - 0.02 * reach, threshold - 0.1 * reach), max(float(high), threshold) + 0.1 * reach
    counts, _ = np.histogram(np.clip(scores, low, high), bins=bins, range=(low, high))
    return Histogram(low, high, tuple(int(count) for count in counts))
