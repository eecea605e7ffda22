"""How well anomaly maps find the pixels of a defect: pixel AUROC and AUPRO on raw maps, in bounded memory.

Every map is brought to the size of its frame bilinearly. No map is kept: for each image only the number of its pixels
at or above each of 2,048 thresholds is. Curves, totals, classes and bootstrap intervals all come from those counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.training.figures.intervals import interval, resampled

FPR_LIMIT = 0.3
MAX_THRESHOLDS = 2048
"""Half of them quantiles of the normal pixels, half of the defective: between two neighbours lies at most a thousandth
of either, which bounds the error of an area under the whole curve by 0.0005."""
_DRAWS = 200
_EIGHT_NEIGHBOURS = np.ones((3, 3), dtype=np.uint8)

Values = NDArray[np.float32]
Mask = NDArray[np.bool_]


def at_frame_size(anomaly_map: Values, height: int, width: int) -> Values:
    """(h, w) → (height, width), bilinear."""
    if anomaly_map.shape == (height, width):
        return anomaly_map
    return np.asarray(Image.fromarray(anomaly_map).resize((width, height), Image.Resampling.BILINEAR))


@dataclass(frozen=True)
class PixelCounts:
    """What one image says at each of T descending thresholds."""

    normal: NDArray[np.int32]
    """(T,): normal pixels at or above the threshold."""
    defective: NDArray[np.int32]
    """(T,): marked pixels at or above it."""
    overlap: NDArray[np.float32]
    """(T,): the sum over the image's regions of the share of the region at or above it."""
    normals: int
    defectives: int
    regions: int
    """Connected regions of the mask, diagonals included, as in MVTec's own evaluation."""


def count_pixels(values: Values, mask: Mask | None, thresholds: Values) -> PixelCounts:
    """values (H, W) at frame size; mask (H, W), None where nothing is defective; thresholds (T,), descending."""
    from scipy.ndimage import label

    if mask is None:
        none = np.zeros(len(thresholds))
        normal = _at_or_above(values.ravel(), thresholds)
        return PixelCounts(normal, none.astype(np.int32), none.astype(np.float32), values.size, 0, 0)
    regions, count = label(mask, _EIGHT_NEIGHBOURS)
    scores = values[mask]
    by_region = np.argsort(regions[mask], kind="stable")
    borders = np.cumsum(np.bincount(regions[mask], minlength=count + 1)[1:-1])
    overlap = np.zeros(len(thresholds))
    for own in np.split(scores[by_region], borders) if count else ():
        overlap += _at_or_above(own, thresholds) / len(own)
    return PixelCounts(
        _at_or_above(values[~mask], thresholds),
        _at_or_above(scores, thresholds),
        overlap.astype(np.float32),
        int(mask.size - mask.sum()),
        int(mask.sum()),
        int(count),
    )


def _at_or_above(values: Values, thresholds: Values) -> NDArray[np.int32]:
    return (len(values) - np.searchsorted(np.sort(values), thresholds, side="left")).astype(np.int32)


def choose_thresholds(normal: Values, defective: Values) -> Values:
    """Samples of both kinds of pixels → (T,) descending thresholds; every value of them when they are few."""
    half = MAX_THRESHOLDS // 2
    chosen = [
        np.quantile(np.unique(sample) if len(sample) < half else sample, np.linspace(0, 1, half), method="nearest")
        for sample in (normal, defective)
        if len(sample)
    ]
    return np.unique(np.concatenate(chosen).astype(np.float32))[::-1] if chosen else np.zeros(0, np.float32)


@dataclass(frozen=True)
class PixelMetrics:
    auroc: float
    aupro: float
    """Mean overlap with the regions, over false positive rates up to 0.3, divided by 0.3 (Bergmann et al. 2021)."""
    intervals: dict[str, tuple[float, float]]
    """95 % bootstrap intervals over images, or over parts, for 'auroc' and 'aupro'."""


def pixel_metrics(
    counts: Sequence[PixelCounts], draws: int = _DRAWS, parts: NDArray[np.int64] | None = None
) -> PixelMetrics | None:
    """parts: which part each image shows (`resampled`). None where no pixel is defective, or none is normal."""
    if not sum(one.defectives for one in counts) or not sum(one.normals for one in counts):
        return None
    table = np.stack([np.stack([one.normal, one.defective, one.overlap]) for one in counts])
    sizes = np.array([[one.normals, one.defectives, one.regions] for one in counts], dtype=np.float64)
    weights = resampled(np.array([one.defectives > 0 for one in counts]), draws, parts)
    auroc, aupro = _areas(table, sizes, np.vstack([np.ones(len(counts)), weights]))
    intervals = {"auroc": interval(auroc[1:]), "aupro": interval(aupro[1:])}
    return PixelMetrics(float(auroc[0]), float(aupro[0]), intervals)


def _areas(
    table: NDArray[np.float64], sizes: NDArray[np.float64], weights: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """table (I, 3, T), sizes (I, 3), weights (D, I) → (D,) areas under ROC and PRO curve for each weighting."""
    images, kinds, steps = table.shape
    totals = weights @ sizes
    curves = (weights @ table.reshape(images, -1)).reshape(len(weights), kinds, steps) / totals[:, :, None]
    ends = np.zeros((len(weights), kinds, 1))
    false, true, overlap = np.concatenate([ends, curves, ends + 1], axis=2).transpose(1, 0, 2)
    auroc = np.trapezoid(true, false, axis=1)
    aupro = np.array([_area_up_to(x, y, FPR_LIMIT) for x, y in zip(false, overlap, strict=True)])
    return auroc, aupro


def _area_up_to(x: NDArray[np.float64], y: NDArray[np.float64], limit: float) -> float:
    """Mean of y over 0 ≤ x ≤ limit, the curve being straight between its points."""
    inside = x <= limit
    at_limit = np.interp(limit, x, y)
    return float(np.trapezoid(np.append(y[inside], at_limit), np.append(x[inside], limit)) / limit)
