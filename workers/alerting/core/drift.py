"""Drift: have the scores of a camera moved away from the calibration of its model? Pure.

A score carries its rank: the share of the calibration's normals that lie at or below it. While nothing drifts, the
share of frames up to each rank is that rank itself. The largest distance between the two, over the calibration's
levels, is the shift (Kolmogorov-Smirnov on the levels that a bundle stores). Old frames fade out: after `frames`
frames a frame weighs 1/e.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from pipeline.events import Score, Verdict
from workers.alerting.core.state import Spread
from workers.alerting.policy import Drift

LEVELS = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
OVER = 0.7
"""Hysteresis: the alarm clears below this share of its limit."""


@dataclass(frozen=True)
class Shift:
    distance: float
    level: float
    share: float

    def __str__(self) -> str:
        return (
            f"{self.share:.0%} of the last scores lie at or below the level that {self.level:.0%} of the calibration "
            "lay below"
        )


def observe(spread: Spread | None, score: Score, policy: Drift) -> Spread | None:
    """Counts one frame. A new model begins anew."""
    if score.rank is None or score.verdict is Verdict.NOT_DECIDABLE:
        return spread
    if spread is None or spread.model_hash != score.model.hash or len(spread.counts) != len(LEVELS) + 1:
        spread = Spread(model_hash=score.model.hash, counts=(0.0,) * (len(LEVELS) + 1))
    fade = math.exp(-1 / policy.frames)
    bin_of = sum(1 for level in LEVELS if score.rank > level)
    counts = tuple(round(count * fade + (number == bin_of), 4) for number, count in enumerate(spread.counts))
    return Spread(model_hash=spread.model_hash, counts=counts, frames=min(spread.frames + 1, policy.frames))


def shift(spread: Spread, policy: Drift) -> Shift | None:
    """None while too few frames were seen to say anything."""
    if spread.frames < policy.frames:
        return None
    total, below = sum(spread.counts), 0.0
    found = []
    for level, count in zip(LEVELS, spread.counts, strict=False):
        below += count
        found.append(Shift(abs(below / total - level), level, below / total))
    return max(found, key=lambda one: one.distance)
