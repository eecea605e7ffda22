"""Image-level metrics on raw scores: nothing is normalised or clamped first, since ties would lower the ranking."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.training.figures.intervals import interval, resampled

_DRAWS = 1000
_DRAWS_AT_ONCE = 100
"""Bounds the memory: draws × images numbers."""


@dataclass(frozen=True)
class ImageMetrics:
    """How well scores tell defects from normals."""

    normals: int
    defects: int
    intervals: Mapping[str, tuple[float, float]]
    """Name of a figure → its 95 % bootstrap interval over images, or over parts. With few defects it is wide, and a
    reader should see that, also where all of them were found."""
    auroc: float
    aupr: float
    """Area under the precision-recall curve as a sum of steps: average precision."""
    f1_max: float
    """F1 at the best threshold in hindsight: an upper bound that no one can know in advance."""
    f1: float | None = None
    """F1 at the calibrated threshold; None where there is none. So are the next four."""
    accuracy: float | None = None
    precision: float | None = None
    """0 where nothing is called defective."""
    recall: float | None = None
    false_alarm_rate: float | None = None
    """The share of normals at or above the calibrated threshold, as found."""


def evaluate_images(
    normal_scores: NDArray[np.float64],
    defect_scores: NDArray[np.float64],
    threshold: float | None = None,
    parts: NDArray[np.int64] | None = None,
) -> ImageMetrics:
    """parts: which part each image shows, those of the normals first (`resampled`). Raises ValueError unless there is
    at least one normal and one defect."""
    if not len(normal_scores) or not len(defect_scores):
        raise ValueError("metrics need at least one normal and one defective image")
    is_defect = np.r_[np.zeros(len(normal_scores), dtype=bool), np.ones(len(defect_scores), dtype=bool)]
    scores = np.r_[normal_scores, defect_scores].astype(np.float64)
    once = np.ones((1, len(scores)))
    found = {name: float(value[0]) for name, value in _figures(scores, is_defect, threshold, once).items()}
    weights = resampled(is_defect, _DRAWS, parts)
    drawn = [
        _figures(scores, is_defect, threshold, weights[start : start + _DRAWS_AT_ONCE])
        for start in range(0, _DRAWS, _DRAWS_AT_ONCE)
    ]
    shows = np.arange(len(scores)) if parts is None else parts
    normal_parts, defect_parts = (len(np.unique(shows[those])) for those in (~is_defect, is_defect))
    shown = {"recall": defect_parts, "false_alarm_rate": normal_parts, "accuracy": normal_parts + defect_parts}
    rarer = min(normal_parts, defect_parts)
    intervals = {
        name: interval(np.concatenate([some[name] for some in drawn]), shown.get(name, rarer)) for name in found
    }
    return ImageMetrics(len(normal_scores), len(defect_scores), intervals, **found)


def _figures(
    scores: NDArray[np.float64], is_defect: NDArray[np.bool_], threshold: float | None, weights: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    """Every figure for each of D weightings (D, N) of the images, at once: a bootstrap of thousands takes no time.

    Equal to scikit-learn's figures for weights of one, which a test compares.
    """
    order = np.argsort(-scores, kind="stable")
    last_of_tie = np.append(np.diff(scores[order]) != 0, True)
    ranked = weights[:, order]
    true = np.cumsum(ranked * is_defect[order], axis=1)[:, last_of_tie]
    false = np.cumsum(ranked * ~is_defect[order], axis=1)[:, last_of_tie]
    defects, normals = true[:, -1:], false[:, -1:]
    start = np.zeros((len(weights), 1))
    recall = np.hstack([start, true / defects])
    precision = true / np.maximum(true + false, 1e-12)
    figures = {
        "auroc": np.trapezoid(recall, np.hstack([start, false / normals]), axis=1),
        "aupr": (np.diff(recall, axis=1) * precision).sum(axis=1),
        "f1_max": (2 * true / (true + false + defects)).max(axis=1),
    }
    if threshold is not None:
        called = weights * (scores >= threshold)
        hits, alarms = called @ is_defect, called @ ~is_defect
        figures |= {
            "f1": 2 * hits / (hits + alarms + defects[:, 0]),
            "accuracy": (hits + normals[:, 0] - alarms) / (normals + defects)[:, 0],
            "precision": hits / np.maximum(hits + alarms, 1e-12),
            "recall": hits / defects[:, 0],
            "false_alarm_rate": alarms / normals[:, 0],
        }
    return figures
