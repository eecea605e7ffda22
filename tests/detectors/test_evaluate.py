"""Metrics against arithmetic by hand, and the card that is made of them."""

import base64
import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from detectors.conftest import normal_frames, write_images
from PIL import ExifTags, Image
from scipy.stats import binomtest
from sklearn.metrics import (
    average_precision_score,
    f1_score,
    precision_recall_curve,
    precision_score,
    roc_auc_score,
)

from pipeline.detectors.bundle import QualityLimits, save_bundle
from pipeline.detectors.null import make_null_bundle
from pipeline.detectors.registry import load_detector
from pipeline.training.figures.baselines import BASELINES, darkness, gradient_energy, sobel_energy
from pipeline.training.figures.card import model_card
from pipeline.training.figures.evaluate import evaluate_images
from pipeline.training.figures.measure import measure
from pipeline.training.figures.report import histogram, write_report
from pipeline.training.figures.shelf import MapShelf
from pipeline.training.images.data import DataError, fingerprint, how_stored

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
    rare = detector.info.calibration.model_copy(update={"false_alarm_rate": 1e-4})
    assert "was set for 0.01% false" in model_card(detector.info.model_copy(update={"calibration": rare}), found)


def test_defects_that_the_stream_would_not_judge_are_told(tmp_path: Path) -> None:
    """What darkens a whole frame may score high and count as found; the stream calls it "not inspected"."""
    frames = normal_frames(4, seed=2)
    write_images(tmp_path / "test" / "good", normal_frames(3, seed=1))
    write_images(tmp_path / "test" / "soot", np.concatenate([frames[:1], frames[1:] // 3]))
    info = make_null_bundle(tmp_path / "bundle", 48, 56)
    limits = QualityLimits(dark_below=90, bright_above=255, blurred_below=0)
    calibration = info.calibration.model_copy(update={"quality": limits})
    save_bundle(tmp_path / "bundle", info.model_copy(update={"calibration": calibration}), {})
    with MapShelf() as shelf:
        (note,) = measure(load_detector(tmp_path / "bundle"), tmp_path, "a test machine", shelf, masks=False).notes
    assert note.startswith("3 of 4 defective images are beyond the bundle's quality limits (dark)")
    assert note.endswith("soot/part0001.png, soot/part0002.png, soot/part0003.png")


def test_images_that_viewers_turn_are_told(tmp_path: Path) -> None:
    """A mask painted in a program that turns them lies elsewhere; upside down its size would still fit."""
    write_images(tmp_path / "test" / "good", normal_frames(3))
    write_images(tmp_path / "test" / "hole", normal_frames(1, seed=1))
    upside_down = Image.Exif()
    upside_down[ExifTags.Base.Orientation] = 3
    Image.fromarray(normal_frames(1, seed=2)[0]).save(tmp_path / "test" / "hole" / "phone.jpg", exif=upside_down)
    make_null_bundle(tmp_path / "bundle", 48, 56)
    with MapShelf() as shelf:
        (note,) = measure(load_detector(tmp_path / "bundle"), tmp_path, "a test machine", shelf, masks=False).notes
    assert note.startswith("1 of 5 images are to be turned when they are shown (EXIF)")
    assert note.endswith(": hole/phone.jpg")
    assert how_stored([tmp_path / "test" / "hole" / "phone.jpg"]).notes == (note.replace("1 of 5", "1 of 1"),)
    write_images(tmp_path / "ground_truth" / "hole", normal_frames(1, 56, 48))
    (tmp_path / "ground_truth" / "hole" / "part0000.png").rename(tmp_path / "ground_truth" / "hole" / "phone.png")
    with pytest.raises(DataError, match=re.escape(f"is 48 × 56 px, but its image is 56 × 48 px\n{note}")):
        measure(load_detector(tmp_path / "bundle"), tmp_path, "a test machine", shelf)


def test_without_test_images_nothing_is_measured(bundles: dict[str, Path], normals_folder: Path) -> None:
    with pytest.raises(DataError, match="no test images"), MapShelf() as shelf:
        measure(load_detector(bundles["null"]), normals_folder, "a test machine", shelf)


@pytest.mark.parametrize("seed", range(3))
def test_figures_equal_scikit_learns_ties_and_all(seed: int) -> None:
    random = np.random.default_rng(seed)
    normal, defect = random.normal(size=70).round(1), random.normal(1, 1, 40).round(1)
    truth, scores = np.r_[np.zeros(70), np.ones(40)], np.r_[normal, defect]
    called = scores >= 0.7
    precision, recall, _ = precision_recall_curve(truth, scores)
    found = evaluate_images(normal, defect, threshold=0.7)
    assert found.auroc == pytest.approx(roc_auc_score(truth, scores))
    assert found.aupr == pytest.approx(average_precision_score(truth, scores))
    assert found.f1_max == pytest.approx(np.max(2 * precision * recall / np.maximum(precision + recall, 1e-12)))
    assert found.f1 == pytest.approx(f1_score(truth, called))
    assert found.accuracy == pytest.approx(np.mean(truth == called))
    assert found.precision == pytest.approx(precision_score(truth, called))


def test_an_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    random = np.random.default_rng(0)
    truth = 0.7602  # P(N(1, 1) > N(0, 1)) = Φ(1 / √2)
    ends = [evaluate_images(random.normal(size=60), random.normal(1, 1, 60)).intervals["auroc"] for _ in range(100)]
    assert 85 <= sum(low <= truth <= high for low, high in ends) <= 100


def test_a_test_of_one_class_is_refused(tmp_path: Path, bundles: dict[str, Path]) -> None:
    write_images(tmp_path / "test" / "good", normal_frames(2))
    with pytest.raises(DataError, match="has 2 good images and no defective ones"), MapShelf() as shelf:
        measure(load_detector(bundles["null"]), tmp_path, "a test machine", shelf)


def refusal(data: Path) -> str:
    make_null_bundle(data.with_name("bundle"), 48, 56)
    with pytest.raises(DataError) as caught, MapShelf() as shelf:
        measure(load_detector(data.with_name("bundle")), data, "a test machine", shelf)
    return str(caught.value)


def test_whoever_follows_the_advice_on_a_plain_folder_gets_figures(tmp_path: Path) -> None:
    data = tmp_path / "data"
    write_images(data, normal_frames(3))
    write_images(data / "hole", normal_frames(2) // 2)
    said = refusal(data)
    assert f"Move the good ones into {data / 'good'}, and put defective ones into {data / '<class of defect>'}" in said
    assert "images in hole were left out" in said
    (data / "good").mkdir()
    for path in data.glob("*.png"):
        path.rename(data / "good" / path.name)
    with MapShelf() as shelf:
        assert measure(load_detector(tmp_path / "bundle"), data, "a test machine", shelf).detector.defects == 2


def test_nobody_is_told_to_put_defects_among_good_parts(tmp_path: Path) -> None:
    write_images(tmp_path / "test" / "good", normal_frames(3))
    said = refusal(tmp_path / "test" / "good")
    assert f"Give --data {tmp_path}, and put defective ones into {tmp_path / 'test' / '<class of defect>'}" in said


def test_beside_a_mask_that_is_missing_stands_the_one_with_another_name(tmp_path: Path) -> None:
    data = tmp_path / "data"
    write_images(data / "test" / "good", normal_frames(3))
    write_images(data / "test" / "hole", normal_frames(2) // 2)
    masks = data / "ground_truth" / "hole"
    write_images(masks, normal_frames(2))
    (masks / "part0001.png").rename(masks / "part0001-gt.png")
    said = refusal(data)
    assert "hole/part0001.png: has no mask" in said
    assert f"no image fits 1 file in {masks}: expected part0000.png or part0000_mask.png" in said


def test_a_model_is_not_tested_in_silence_on_what_it_was_fitted_on(tmp_path: Path) -> None:
    write_images(tmp_path / "test" / "good", normal_frames(3))
    write_images(tmp_path / "test" / "hole", normal_frames(1) // 2)
    info = make_null_bundle(tmp_path / "bundle", 48, 56)
    seen = [fingerprint(tmp_path / "test" / "good" / "part0001.png")]
    save_bundle(tmp_path / "bundle", info.model_copy(update={"training": {"fitted_on": seen}}), {})
    with MapShelf() as shelf:
        found = measure(load_detector(tmp_path / "bundle"), tmp_path, "a test machine", shelf)
    assert any("1 of 3 good test images are images that the model was fitted on" in note for note in found.notes)


def test_the_page_shows_the_worst_mistakes_and_needs_nothing_else(tmp_path: Path) -> None:
    """The null detector takes bright frames for defective: the dark hole is missed, the bright good one stopped."""
    good = normal_frames(3)
    good[1] = 250
    write_images(tmp_path / "test" / "good", good)
    write_images(tmp_path / "test" / "<hole>", normal_frames(2, seed=1) // 3)
    mask = np.zeros((48, 56), np.uint8)
    mask[10:20, 10:20] = 255
    write_images(tmp_path / "ground_truth" / "<hole>", np.stack([mask, mask]))
    make_null_bundle(tmp_path / "bundle", 48, 56, threshold=0.8)
    detector = load_detector(tmp_path / "bundle")
    with MapShelf() as shelf:
        found = measure(detector, tmp_path, "a test machine", shelf)
        page = write_report(detector.info, found, shelf, tmp_path / "report").read_text()
    assert "2 of 2 defective images missed" in page
    assert "1 of 3 good images called NOT_OK" in page
    assert page.index("good/part0001.png") < page.index("good/part0000.png")
    assert page.count("data:image/jpeg;base64,") == 5
    assert "&lt;hole&gt;" in page
    assert "<hole>" not in page
    assert "http" not in page


@pytest.mark.parametrize(
    ("height", "width", "stacked"), [(1024, 1024, False), (160, 2000, True), (2000, 160, False), (48, 40, False)]
)
def test_marks_on_frames_of_any_size_are_seen_in_the_picture(
    tmp_path: Path, height: int, width: int, stacked: bool
) -> None:
    frame, mask = np.full((1, height, width), 100, np.uint8), np.zeros((1, height, width), np.uint8)
    top, left = min(80, height // 2), min(70, width // 2)
    mask[0, top : top + 3, left : left + 20] = 255
    write_images(tmp_path / "test" / "good", frame)
    write_images(tmp_path / "test" / "hole", frame + mask // 10)
    write_images(tmp_path / "ground_truth" / "hole", mask)
    make_null_bundle(tmp_path / "bundle", height, width)
    detector = load_detector(tmp_path / "bundle")
    with MapShelf() as shelf:
        found = measure(detector, tmp_path, "a test machine", shelf)
        page = write_report(detector.info, found, shelf, tmp_path / "report").read_text()
    encoded = page.split("data:image/jpeg;base64,")[1].split('"')[0]
    with Image.open(io.BytesIO(base64.b64decode(encoded))) as picture:
        pixels = np.asarray(picture).astype(int)
    panels = np.array_split(pixels, 3, axis=0 if stacked else 1)
    assert panels[0].shape[1] >= min(0.6 * width, 400)  # shown, not shrunk to a line
    assert max(panels[0].shape) >= 150  # nor as small as a stamp
    assert (panels[0][..., 1] - panels[0][..., 0]).max() > 80  # a green outline


def test_a_false_alarm_beside_boundless_damage_is_seen_on_the_page(tmp_path: Path) -> None:
    """As CFLOW scored caps: good parts up to 4.5, a lost bar 670,000. All pictures of good parts were black."""
    write_images(tmp_path / "test" / "good", normal_frames(4))
    write_images(tmp_path / "test" / "lost", normal_frames(4, seed=1))
    make_null_bundle(tmp_path / "bundle", 48, 56, threshold=3.7)
    detector = load_detector(tmp_path / "bundle")
    with MapShelf() as shelf:
        found = measure(detector, tmp_path, "a test machine", shelf)
        for number, image in enumerate(found.images):
            anomaly_map = np.zeros((6, 7), np.float32)
            anomaly_map[2, 3] = 500_000 if image.is_defect else 5 if number == 0 else 3
            shelf.put(number, anomaly_map)
        scores = np.where([image.is_defect for image in found.images], 670_000.0, np.arange(8) / 2)
        scores[0] = 4.5
        page = write_report(detector.info, replace(found, scores=scores), shelf, tmp_path / "report").read_text()
    alarm = page.split("data:image/jpeg;base64,")[5].split('"')[0]
    with Image.open(io.BytesIO(base64.b64decode(alarm))) as picture:
        heat_map = np.array_split(np.asarray(picture), 3, axis=1)[1][:, 12:-12]  # without the white beside it
    assert heat_map.max() > 80


def test_a_histogram_tells_good_parts_from_the_threshold_beside_boundless_damage() -> None:
    good, bad = np.linspace(1, 3, 40), np.linspace(100_000, 900_000, 40)
    drawn = histogram(good, bad, threshold=3.7)
    assert drawn.count('fill="#3b76af"') > 5


def test_a_class_whose_masks_mark_nothing_has_no_pixel_figures_and_a_page_all_the_same(tmp_path: Path) -> None:
    write_images(tmp_path / "test" / "good", normal_frames(3))
    mask = np.zeros((1, 48, 56), np.uint8)
    for kind, level in (("hole", 255), ("dent", 0)):
        write_images(tmp_path / "test" / kind, normal_frames(1, seed=1) // 3)
        mask[0, 10:20, 10:20] = level
        write_images(tmp_path / "ground_truth" / kind, mask)
    make_null_bundle(tmp_path / "bundle", 48, 56)
    detector = load_detector(tmp_path / "bundle")
    with MapShelf() as shelf:
        found = measure(detector, tmp_path, "a test machine", shelf)
        page = write_report(detector.info, found, shelf, tmp_path / "report").read_text()
    assert found.per_class["dent"].pixel is None
    assert "<td>—<td>—</tr>" in page


def test_no_name_of_a_class_breaks_the_tables_of_the_card(tmp_path: Path) -> None:
    write_images(tmp_path / "test" / "good", normal_frames(3))
    for kind in ("cr|ack", "two\nlines", "<b>hole"):
        write_images(tmp_path / "test" / kind, normal_frames(2, seed=1) // 3)
    make_null_bundle(tmp_path / "bundle", 48, 56)
    detector = load_detector(tmp_path / "bundle")
    with MapShelf() as shelf:
        card = model_card(detector.info, measure(detector, tmp_path, "a test machine", shelf))
    for kind in (r"cr\|ack", "two lines", "&lt;b>hole"):
        assert f"\n| {kind} | 2 |" in card


def test_images_that_set_the_threshold_are_told_from_others(tmp_path: Path) -> None:
    write_images(tmp_path / "test" / "good", normal_frames(3))
    write_images(tmp_path / "test" / "hole", normal_frames(1) // 2)
    info = make_null_bundle(tmp_path / "bundle", 48, 56)
    used = [fingerprint(tmp_path / "test" / "good" / f"part{number:04d}.png") for number in range(2)]
    save_bundle(tmp_path / "bundle", info.model_copy(update={"training": {"calibrated_on": used}}), {})
    with MapShelf() as shelf:
        found = measure(load_detector(tmp_path / "bundle"), tmp_path, "a test machine", shelf)
    assert any("2 of 3 good test images are images that the threshold was set by" in note for note in found.notes)


def test_an_image_that_is_good_and_defective_is_told(tmp_path: Path) -> None:
    write_images(tmp_path / "test" / "good", normal_frames(3))
    write_images(tmp_path / "test" / "hole", normal_frames(3)[:1])
    make_null_bundle(tmp_path / "bundle", 48, 56)
    with MapShelf() as shelf:
        found = measure(load_detector(tmp_path / "bundle"), tmp_path, "a test machine", shelf)
    assert any(
        "1 test image counted though copies of others" in note and "hole/part0000.png" in note for note in found.notes
    )


@pytest.mark.parametrize(
    ("role", "did"), [("fitted_on", "taught the model what is normal"), ("calibrated_on", "set the threshold")]
)
def test_a_defective_image_that_was_taken_for_a_good_one_is_told(role: str, did: str, tmp_path: Path) -> None:
    write_images(tmp_path / "test" / "good", normal_frames(3))
    write_images(tmp_path / "test" / "hole", normal_frames(2) // 2)
    info = make_null_bundle(tmp_path / "bundle", 48, 56)
    seen = [fingerprint(tmp_path / "test" / "hole" / "part0001.png")]
    save_bundle(tmp_path / "bundle", info.model_copy(update={"training": {role: seen}}), {})
    with MapShelf() as shelf:
        found = measure(load_detector(tmp_path / "bundle"), tmp_path, "a test machine", shelf)
    (told,) = [note for note in found.notes if did in note]
    assert told.startswith("1 of 2 defective test images")
    assert told.endswith(": hole/part0001.png")


def test_masks_that_hardly_mean_what_they_say_are_told(tmp_path: Path) -> None:
    """Black on white, every figure of pixels is that of the background."""
    write_images(tmp_path / "test" / "good", normal_frames(3))
    write_images(tmp_path / "test" / "hole", normal_frames(3) // 2)
    masks = tmp_path / "ground_truth" / "hole"
    masks.mkdir(parents=True)
    mask = np.zeros((48, 56), np.uint8)
    mask[4:9, 5:9] = 255
    for number, one in enumerate((mask, 255 - mask, mask // 3)):
        Image.fromarray(one).save(masks / f"part{number:04d}.png")
    make_null_bundle(tmp_path / "bundle", 48, 56)
    with MapShelf() as shelf:
        found = measure(load_detector(tmp_path / "bundle"), tmp_path, "a test machine", shelf)
    (wide,) = [note for note in found.notes if "more than half of the image" in note]
    assert wide.startswith("1 of 3 masks")
    assert wide.endswith(": hole/part0001.png")
    (empty,) = [note for note in found.notes if "without a mark, which is what is 128 or brighter" in note]
    assert empty.endswith(": hole/part0002.png")


def test_three_defects_that_were_all_found_promise_no_fourth() -> None:
    """Each draw of them agrees, so the interval had no width: [1.0, 1.0]."""
    found = evaluate_images(np.linspace(0, 0.4, 20), np.array([0.7, 0.8, 0.9]), threshold=0.5)
    low, high = found.intervals["recall"]
    assert (found.recall, high) == (1.0, 1.0)
    assert low == pytest.approx(binomtest(3, 3).proportion_ci(method="exact").low)
    assert found.intervals["auroc"] == (low, 1.0)
    alarms = binomtest(0, 20).proportion_ci(method="exact")
    assert found.intervals["false_alarm_rate"] == pytest.approx((0.0, alarms.high))


def test_an_interval_of_no_width_is_as_wide_as_its_parts_are_few() -> None:
    """Six pictures of one defective part are no six parts."""
    one_part = np.r_[np.arange(20), np.full(6, 20)]
    found = evaluate_images(np.linspace(0, 0.4, 20), np.full(6, 0.9), threshold=0.5, parts=one_part)
    assert found.intervals["recall"] == pytest.approx((0.025, 1.0))
