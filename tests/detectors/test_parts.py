"""Pictures of one part are one draw: how they are told, and what follows for intervals and thresholds."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from detectors.conftest import TINY_CFLOW_PLAN, normal_frames, write_images
from PIL import Image

from pipeline.detectors.null import make_null_bundle
from pipeline.detectors.registry import load_detector
from pipeline.training.figures.evaluate import evaluate_images
from pipeline.training.figures.measure import measure
from pipeline.training.figures.shelf import MapShelf
from pipeline.training.images.data import read_frame
from pipeline.training.images.parts import highest_of_parts, number_of, parts_of
from pipeline.training.threshold.calibrate import CalibrationError
from pipeline.training.threshold.false_stops import Target, choose_threshold
from pipeline.training.threshold.recalibrate import recalibrate
from pipeline.training.train import train

pytestmark = pytest.mark.unit

NAMES = ("good/exp1_41.png", "good/exp2_40.png", "good/exp1_90.png", "bad/exp1_42.png", "good/exp3_60.png")
PATHS = [Path(name) for name in NAMES]
AT_MOST_HALF = Target(stops_per_shift=1800, fps=1, shift_hours=1)


def test_numbers_close_together_in_one_folder_are_one_part() -> None:
    first, second, third, bad, fourth = parts_of(PATHS, 25)
    assert first == second == fourth
    assert len({first, third, bad}) == 3


def test_zero_takes_equal_numbers_alone_and_nothing_takes_every_picture() -> None:
    twins = [Path("cam1_7.png"), Path("cam2_7.png"), Path("cam1_8.png")]
    assert parts_of(twins, 0).tolist() == [0, 0, 1]
    assert parts_of(twins, None).tolist() == [0, 1, 2]
    assert len(parts_of([], 3)) == 0


@pytest.mark.parametrize(
    "names",
    [
        ("20261129_101559", "20261129_101600", "20261130_080000"),
        ("cam1 2026-11-29T10-15-59.900Z", "cam1 2026-11-29T10-16-00.100Z", "cam1 2026-11-30T08-00-00.050Z"),
        ("2026-11-29 10.15.59 (2)", "2026-11-29 10.16.00 (1)", "2026-12-01 00.00.00"),
        ("IMG_20261129101559123", "IMG_20261129101600001", "IMG_20270101000000000"),
        ("20269129101559", "20269129101600", "20269130080000"),  # a serial: there is no such month
    ],
)
def test_names_that_are_dates_and_times_are_in_the_order_of_time(names: tuple[str, ...]) -> None:
    """By their last number those of a shift were shuffled by their seconds, and twins lay on both sides of a split."""
    numbers = [number_of(Path(f"{name}.png")) for name in names]
    assert numbers == sorted(numbers)
    assert len(set(numbers)) == 3


def test_pictures_of_one_part_lie_seconds_apart_where_names_are_times() -> None:
    names = ("20261129_101559_top", "20261129_101600_side", "20261129_101604_top", "20261130_101559_top")
    assert parts_of([Path(f"{name}.png") for name in names], 1).tolist() == [0, 0, 1, 2]


def test_the_highest_of_each_part_by_hand() -> None:
    assert highest_of_parts(np.array([1.0, 5.0, 2.0]), np.array([1, 0, 1])).tolist() == [5.0, 2.0]


def test_six_pictures_of_a_part_make_an_interval_no_narrower() -> None:
    random = np.random.default_rng(0)
    good, bad = random.normal(size=30), random.normal(1, 1, 30)
    six = np.repeat(np.arange(60), 6)
    once = evaluate_images(good, bad).intervals["auroc"]
    by_image = evaluate_images(np.repeat(good, 6), np.repeat(bad, 6)).intervals["auroc"]
    by_part = evaluate_images(np.repeat(good, 6), np.repeat(bad, 6), parts=six).intervals["auroc"]
    assert by_part == pytest.approx(once, abs=1e-12)
    assert by_image[1] - by_image[0] < 0.5 * (by_part[1] - by_part[0])


def test_an_evaluation_says_how_many_parts_its_intervals_are_over(tmp_path: Path) -> None:
    write_images(tmp_path / "test" / "good", normal_frames(6))
    write_images(tmp_path / "test" / "hole", normal_frames(4, seed=1) // 2)
    make_null_bundle(tmp_path / "bundle", 48, 56)
    detector = load_detector(tmp_path / "bundle")
    with MapShelf() as shelf:
        by_part = measure(detector, tmp_path, "a test machine", shelf, same_part=1)
        by_image = measure(detector, tmp_path, "a test machine", shelf)
    assert any("1 good and 1 defective parts: intervals are over parts" in note for note in by_part.notes)
    assert not any("parts" in note for note in by_image.notes)
    assert by_part.detector.auroc == by_image.detector.auroc


def test_of_a_part_the_highest_score_counts_once(tmp_path: Path) -> None:
    paths = [tmp_path / f"view{view}_{part}.png" for part in range(6) for view in range(2)]
    for path, frame in zip(paths, normal_frames(12), strict=True):
        Image.fromarray(frame).save(path)
    make_null_bundle(tmp_path / "bundle", 48, 56)
    detector = load_detector(tmp_path / "bundle")
    found = recalibrate(detector, paths, AT_MOST_HALF, same_part=0)
    scores = np.array([detector.predict(read_frame(path, "gray")[None]).scores[0] for path in paths])
    assert found.calibration.normals == 6
    assert found.chosen == choose_threshold(scores.reshape(6, 2).max(axis=1), AT_MOST_HALF)


def test_one_part_however_often_shown_promises_nothing(tmp_path: Path) -> None:
    write_images(tmp_path / "good", normal_frames(12))
    make_null_bundle(tmp_path / "bundle", 48, 56)
    detector, paths = load_detector(tmp_path / "bundle"), sorted((tmp_path / "good").iterdir())
    assert recalibrate(detector, paths, AT_MOST_HALF).calibration.normals == 12
    with pytest.raises(
        CalibrationError, match="the 12 images show 1 part, and each counts once: 1 held-out normal cannot promise"
    ):
        recalibrate(detector, paths, AT_MOST_HALF, same_part=1)


def test_a_training_sets_its_threshold_by_parts(tmp_path: Path) -> None:
    for number, frame in enumerate(normal_frames(40)):
        path = tmp_path / "train" / "good" / f"view{number % 2}_{number // 2:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(frame).save(path)
    plan = replace(TINY_CFLOW_PLAN, flow=replace(TINY_CFLOW_PLAN.flow, epochs=0), false_alarm_rate=0.2)
    cpu = torch.device("cpu")
    assert train(tmp_path, tmp_path / "each", "each", plan, cpu).calibration.normals == 12
    by_part = replace(plan, same_part=0)
    assert train(tmp_path, tmp_path / "part", "part", by_part, cpu).calibration.normals == 6
    with pytest.raises(CalibrationError, match=r"of 40 normals 12 \(of 1 part\) remain .* of good parts, one a part"):
        train(tmp_path, tmp_path / "none", "none", replace(plan, same_part=100), cpu)
