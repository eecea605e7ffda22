"""Image-level metrics on raw scores: nothing is normalised or clamped first, since ties would lower the ranking."""

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class ImageMetrics:
    """How well scores tell defects from normals."""

    normals: int
    defects: int
    auroc: float
    auroc_low: float
    """Lower end of the 95 % bootstrap interval."""
    auroc_high: float
    average_precision: float
    f1_max: float
    """F1 at the best threshold in hindsight: an upper bound that no one can know in advance."""
    f1: float | None
    """F1 at the calibrated threshold; None where there is none."""
    recall: float | None
    false_alarm_rate: float | None
    """The share of normals at or above the calibrated threshold, as found."""

    def as_dict(self) -> dict[str, float | int | None]:
        return asdict(self)


def evaluate_images(
    normal_scores: NDArray[np.float64],
    defect_scores: NDArray[np.float64],
    threshold: float | None = None,
    seed: int = 0,
) -> ImageMetrics:
    """Raises ValueError unless there is at least one normal and one defect."""
    from sklearn.metrics import average_precision_score, f1_score, precision_recall_curve, roc_auc_score

    if not len(normal_scores) or not len(defect_scores):
        raise ValueError("metrics need at least one normal and one defective image")
    labels = np.r_[np.zeros(len(normal_scores), dtype=int), np.ones(len(defect_scores), dtype=int)]
    scores = np.r_[normal_scores, defect_scores]
    precision, recall, _ = precision_recall_curve(labels, scores)
    f1_curve = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    low, high = _bootstrap_auroc(normal_scores, defect_scores, seed)
    called = None if threshold is None else scores >= threshold
    return ImageMetrics(
        normals=len(normal_scores),
        defects=len(defect_scores),
        auroc=float(roc_auc_score(labels, scores)),
        auroc_low=low,
        auroc_high=high,
        average_precision=float(average_precision_score(labels, scores)),
        f1_max=float(f1_curve.max()),
        f1=None if called is None else float(f1_score(labels, called, zero_division=0.0)),
        recall=None if called is None else float(called[labels == 1].mean()),
        false_alarm_rate=None if called is None else float(called[labels == 0].mean()),
    )


def _bootstrap_auroc(
    normal: NDArray[np.float64], defect: NDArray[np.float64], seed: int, draws: int = 1000
) -> tuple[float, float]:
    """95 % interval of the AUROC over resampled images. With few defects it is wide, and a reader should see that."""
    wins = (defect[:, None] > normal[None, :]) + 0.5 * (defect[:, None] == normal[None, :])
    random = np.random.default_rng(seed)
    found = [
        wins[
            np.ix_(random.integers(len(defect), size=len(defect)), random.integers(len(normal), size=len(normal)))
        ].mean()
        for _ in range(draws)
    ]
    low, high = np.quantile(found, [0.025, 0.975])
    return float(low), float(high)
