"""From features to the score: one-sided isolation, and distance where isolation saturates."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from pipeline.detectors.radar.forest import ForestArrays, isolation_score

_FOREST = "forest."
_TINY = 1e-9
_TAIL_WEIGHT = 0.02
"""Small beside the forest's range of about 0.4: it orders what the forest ties, and overrules it only far outside."""


@dataclass(frozen=True)
class Judgement:
    """An Isolation Forest over log features, with three departures from the plain one, measured in
    docs/decisions/0002-radar-choices.md and 0016-loud-whitening.md.

    One-sided: a feature below its median among normals counts as the median. A frame cleaner than most normals is as
    isolated as one with a defect, and the plain forest calls it just as anomalous.
    Unbounded: beyond the highest normal every sample falls into the same leaf, so a scratch and a broken part tie, and
    a threshold at the tie stops nothing. There the distance, in spreads of the normals, is added.
    Ordered below: half of the normals would tie at the median, and so would a faint defect beside them. There the
    distance below it is taken off.
    """

    forest: ForestArrays
    median: NDArray[np.float64]
    """(F,): of the log features of the forest's normals."""
    highest: NDArray[np.float64]
    """(F,)"""
    spread: NDArray[np.float64]
    """(F,): standard deviation."""

    def score(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N, F) → (N,)."""
        logs = log_features(features)
        outside = np.maximum(logs - self.highest, 0) + np.minimum(logs - self.median, 0)
        isolated = isolation_score(self.forest, np.maximum(logs, self.median))
        score: NDArray[np.float64] = isolated + _TAIL_WEIGHT * (outside / self.spread).sum(axis=1)
        return score

    def tensors(self) -> dict[str, NDArray[Any]]:
        own = {"judgement.median": self.median, "judgement.highest": self.highest, "judgement.spread": self.spread}
        return {**own, **self.forest.tensors(_FOREST)}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[Any]]) -> Self:
        """Undoes `tensors`. Raises KeyError when one is missing."""
        return cls(
            ForestArrays.from_tensors(tensors, _FOREST),
            tensors["judgement.median"],
            tensors["judgement.highest"],
            tensors["judgement.spread"],
        )


def log_features(features: NDArray[np.float64]) -> NDArray[np.float64]:
    """What matters is by which factor a frame differs from normal."""
    logs: NDArray[np.float64] = np.log(np.maximum(features, _TINY))
    return logs
