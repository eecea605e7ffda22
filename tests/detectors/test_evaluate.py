"""Metrics against arithmetic by hand, and the card that is made of them."""

from pathlib import Path

import numpy as np
import pytest
from detectors.conftest import normal_frames, write_images

from pipeline.detectors.registry import load_detector
from pipeline.training.baselines import BASELINES, darkness, gradient_energy, sobel_energy
from pipeline.training.card import model_card
from pipeline.training.data import DataError
from pipeline.training.evaluate import evaluate_images
from pipeline.training.measure import measure
from pipeline.training.shelf import MapShelf

pytestmark = pytest.mark.unit


def test_metrics_by_hand() -> None:
    found = evaluate_images(np.array([0.0, 1.0, 2.0]), np.array([1.5, 3.0]), threshold=2.0)
    assert found.auroc == pytest.approx(5 / 6)
    assert found.recall == 0.5
    assert found.false_alarm_rate == pytest.approx(1 / 3)
    assert found.f1 == pytest.approx(0.5)
    assert found.f1_max == pytest.approx(0.8)
    assert found.aupr == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    low, high = found.intervals["auroc"]
    assert low <= found.auroc <= high


def test_scores_are_ranked_raw() -> None:
    """Values that clamping or float32 would tie."""
    assert evaluate_images(np.array([1e9, 1e9 + 1]), np.array([1e9 + 2])).auroc == 1.0


def test_no_defects_no_metrics() -> None:
    with pytest.raises(ValueError, match="at least one"):
        evaluate_images(np.array([1.0]), np.array([]))


def test_baselines_of_flat_and_sloped_frames() -> None:
    flat = np.full((8, 8), 100, dtype=np.uint8)
    slope = np.tile(np.arange(8, dtype=np.uint8), (8, 1))
    assert sobel_energy(flat) == gradient_energy(flat) == 0
    assert sobel_energy(slope) == gradient_energy(slope) == 1
    assert darkness(flat) == 155


def test_the_card_holds_what_was_measured(bundles: dict[str, Path], tmp_path: Path) -> None:
    write_images(tmp_path / "train" / "good", normal_frames(1))
    write_images(tmp_path / "test" / "good", normal_frames(5, seed=1))
    write_images(tmp_path / "test" / "hole", normal_frames(4, seed=2) // 2)
    detector = load_detector(bundles["radar in pixels"], "cpu")
    with MapShelf() as shelf:
        found = measure(detector, tmp_path, "a test machine", shelf)
    assert (found.detector.normals, found.detector.defects) == (5, 4)
    card = model_card(detector.info, found)
    assert f"{found.detector.auroc:.3f}" in card
    assert detector.info.model_hash in card
    assert all(name in card for name in BASELINES)


def test_without_test_images_nothing_is_measured(bundles: dict[str, Path], normals_folder: Path) -> None:
    with pytest.raises(DataError, match="no test images"), MapShelf() as shelf:
        measure(load_detector(bundles["null"]), normals_folder, "a test machine", shelf)
