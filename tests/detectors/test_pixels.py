"""Pixel AUROC and AUPRO against slow, exact references on raw scores."""

from collections import deque
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from pipeline.training.figures.pixels import FPR_LIMIT, at_frame_size, choose_thresholds, count_pixels, pixel_metrics

pytestmark = pytest.mark.unit

Maps = list[NDArray[np.float32]]
Masks = list[NDArray[np.bool_] | None]


def regions_of(mask: NDArray[np.bool_]) -> list[list[tuple[int, int]]]:
    """Connected regions, diagonals included, by a flood fill that a reader can follow."""
    left = {(int(y), int(x)) for y, x in np.argwhere(mask)}
    found = []
    while left:
        region, edge = [], deque([left.pop()])
        while edge:
            y, x = edge.popleft()
            region.append((y, x))
            near = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & left
            left -= near
            edge.extend(near)
        found.append(region)
    return found


def slow_aupro(maps: Maps, masks: Masks) -> float:
    """Bergmann et al. 2021: at every threshold the mean share found of each region, against the share of normal pixels
    at or above it; the area up to 0.3, divided by 0.3."""
    normal = np.concatenate([m.ravel() if k is None else m[~k] for m, k in zip(maps, masks, strict=True)])
    regions = [
        np.array([m[at] for at in region])
        for m, k in zip(maps, masks, strict=True)
        if k is not None
        for region in regions_of(k)
    ]
    points = [(0.0, 0.0)]
    for threshold in np.unique(np.concatenate([m.ravel() for m in maps]))[::-1]:
        overlap = float(np.mean([np.mean(region >= threshold) for region in regions]))
        points.append((float(np.mean(normal >= threshold)), overlap))
    area = 0.0
    for (x0, y0), (x1, y1) in pairwise(points):
        if x0 >= FPR_LIMIT:
            break
        if x1 > FPR_LIMIT:
            y1 = y0 + (y1 - y0) * (FPR_LIMIT - x0) / (x1 - x0)
            x1 = FPR_LIMIT
        area += (x1 - x0) * (y0 + y1) / 2
    return area / FPR_LIMIT


def scene(seed: int) -> tuple[Maps, Masks]:
    """Raw maps, far outside [0, 1], with ties; masks with several regions, some touching at a corner."""
    size, random = 24, np.random.default_rng(seed)
    maps: Maps = []
    masks: Masks = []
    for number in range(5):
        mask = np.zeros((size, size), dtype=bool)
        for _ in range(3):
            y, x = random.integers(0, size - 6, 2)
            mask[y : y + random.integers(1, 6), x : x + random.integers(1, 6)] = True
        values = random.normal(1e3, 50, (size, size)) + 60 * mask
        maps.append(np.round(values).astype(np.float32))
        masks.append(None if number == 0 else mask)
    return maps, masks


def counted(maps: Maps, masks: Masks, thresholds: NDArray[np.float32]) -> list:  # type: ignore[type-arg]
    return [count_pixels(m, k, thresholds) for m, k in zip(maps, masks, strict=True)]


@pytest.mark.parametrize("seed", range(4))
def test_areas_equal_the_references_where_every_value_is_a_threshold(seed: int) -> None:
    maps, masks = scene(seed)
    every = np.unique(np.concatenate([m.ravel() for m in maps]))[::-1]
    found = pixel_metrics(counted(maps, masks, every))
    assert found is not None
    truth = np.concatenate([np.zeros(m.size) if k is None else k.ravel() for m, k in zip(maps, masks, strict=True)])
    exact = roc_auc_score(truth, np.concatenate([m.ravel() for m in maps]))
    assert found.auroc == pytest.approx(exact, abs=1e-9)
    assert found.aupro == pytest.approx(slow_aupro(maps, masks), abs=1e-6)
    for name, value in (("auroc", found.auroc), ("aupro", found.aupro)):
        low, high = found.intervals[name]
        assert low < value < high


def test_few_thresholds_come_close_to_every_value() -> None:
    random = np.random.default_rng(0)
    mask = np.zeros((300, 300), dtype=bool)
    mask[40:60, 40:90] = mask[200:203, 10:290] = True
    values = (random.standard_t(2, mask.shape) + 1.5 * mask).astype(np.float32)
    thresholds = choose_thresholds(values[~mask][::3], values[mask])
    assert len(thresholds) <= 2048
    found = pixel_metrics([count_pixels(values, mask, thresholds)])
    every = pixel_metrics([count_pixels(values, mask, np.unique(values)[::-1])], draws=1)
    assert found is not None
    assert every is not None
    assert found.auroc == pytest.approx(every.auroc, abs=5e-4)
    assert found.aupro == pytest.approx(every.aupro, abs=5e-4)


def test_a_perfect_map_and_an_inverted_one() -> None:
    mask = np.zeros((10, 10), dtype=bool)
    mask[2:5, 2:5] = True
    for values, expected in ((mask * 7.0, 1.0), (mask * -7.0, 0.0)):
        thresholds = np.unique(values.astype(np.float32))[::-1]
        found = pixel_metrics([count_pixels(values.astype(np.float32), mask, thresholds)])
        assert found is not None
        assert (found.auroc, found.aupro) == pytest.approx((expected, expected))


def test_without_a_defective_pixel_there_is_nothing_to_say() -> None:
    values = np.zeros((4, 4), dtype=np.float32)
    assert pixel_metrics([count_pixels(values, None, values[0])]) is None


def test_a_coarse_map_is_brought_to_the_frame_bilinearly() -> None:
    fine = at_frame_size(np.array([[0, 4]], dtype=np.float32), 2, 4)
    np.testing.assert_allclose(fine, [[0, 1, 3, 4]] * 2)
