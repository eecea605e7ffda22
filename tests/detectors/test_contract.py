"""What every detector promises, asked of every registered method."""

import json
import os
import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from detectors.conftest import DETECTORS, assert_each_thread_gets_its_own, normal_frames
from numpy.testing import assert_allclose, assert_array_equal

from pipeline.detectors import registry
from pipeline.detectors.base import BrokenModelError, Detector, Prediction
from pipeline.detectors.bundle import MANIFEST, WEIGHTS, BundleError, load_bundle, read_info, save_bundle
from pipeline.detectors.registry import load_detector, torch_device
from pipeline.errors import AndonError
from pipeline.training.images.data import fingerprint, read_frame
from pipeline.training.images.layouts import find_layout

pytestmark = pytest.mark.unit

DEVICES = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]


@pytest.fixture(params=DETECTORS)
def bundle(request: pytest.FixtureRequest, bundles: dict[str, Path]) -> Path:
    return bundles[request.param]


@pytest.fixture(params=DEVICES)
def detector(request: pytest.FixtureRequest, bundle: Path) -> Detector:
    return load_detector(bundle, request.param)


def assert_same(left: Prediction, right: Prediction) -> None:
    """To the bit."""
    assert_array_equal(left.scores, right.scores)
    assert_array_equal(left.maps, right.maps)
    assert left.features.keys() == right.features.keys()
    for name, values in left.features.items():
        assert_array_equal(values, right.features[name])


def test_shapes_and_types(detector: Detector) -> None:
    found = detector.predict(normal_frames(3))
    assert found.scores.shape == (3,)
    assert found.scores.dtype == np.float64
    assert found.maps.ndim == 3
    assert len(found.maps) == 3
    assert found.maps.dtype == np.float32
    assert all(values.shape == (3,) for values in found.features.values())
    assert np.isfinite(found.scores).all()
    assert np.isfinite(found.maps).all()


def test_the_same_frames_score_the_same(detector: Detector) -> None:
    frames = normal_frames(3)
    assert_same(detector.predict(frames), detector.predict(frames.copy()))


def test_a_frame_does_not_depend_on_its_batch(detector: Detector) -> None:
    frames = normal_frames(11)
    together = detector.predict(frames)
    for index in (0, 4, 10):
        alone = detector.predict(frames[index : index + 1])
        assert_array_equal(alone.scores[0], together.scores[index])
        assert_array_equal(alone.maps[0], together.maps[index])


@pytest.mark.skipif("cuda" not in DEVICES, reason="there is no GPU")
def test_a_gpu_agrees_with_the_cpu_to_a_thousandth(bundle: Path) -> None:
    frames = normal_frames(11)
    there, here = (load_detector(bundle, device).predict(frames) for device in ("cuda", "cpu"))
    assert_allclose(there.scores, here.scores, rtol=1e-3, atol=1e-3)
    assert_allclose(there.maps, here.maps, rtol=1e-3, atol=1e-3 * float(np.abs(here.maps).max()))


def test_a_frame_does_not_depend_on_the_order(detector: Detector) -> None:
    frames = normal_frames(5)
    assert_array_equal(detector.predict(frames[::-1]).scores, detector.predict(frames).scores[::-1])


def test_saved_and_loaded_it_scores_the_same_to_the_bit(bundle: Path, tmp_path: Path) -> None:
    frames = normal_frames(2)
    info, tensors = load_bundle(bundle)
    written = save_bundle(tmp_path / "copy", info, tensors)
    assert written.model_hash == info.model_hash
    assert_same(load_detector(bundle, "cpu").predict(frames), load_detector(tmp_path / "copy", "cpu").predict(frames))


def test_the_threshold_is_of_the_model_that_is_loaded(bundle: Path, normals_folder: Path) -> None:
    """It lies just above the score of one of its normals, to the bit: what scored them in training scores here."""
    info = read_info(bundle)
    if not info.training:
        pytest.skip(f"{info.method} is not trained")
    frames = np.stack([read_frame(path, info.input.mode) for path in find_layout(normals_folder).normals])
    scores = load_detector(bundle, "cpu").predict(frames).scores
    assert info.calibration.threshold in np.nextafter(scores, np.inf)


def test_who_looks_at_once_sees_own_frames(detector: Detector) -> None:
    assert_each_thread_gets_its_own(detector)


def test_a_model_that_gives_no_number_is_refused() -> None:
    for value in (np.nan, np.inf):
        good, broken = np.zeros(2), np.array([0.0, value])
        maps = good.astype(np.float32).reshape(2, 1, 1)
        with pytest.raises(BrokenModelError, match="gives scores that are not finite"):
            Prediction(broken, maps, {})
        with pytest.raises(BrokenModelError, match="gives maps that are not finite"):
            Prediction(good, broken.astype(np.float32).reshape(2, 1, 1), {})
        with pytest.raises(BrokenModelError, match="gives depth that are not finite"):
            Prediction(good, maps, {"depth": broken})


def test_gray_stored_as_rgb_scores_as_gray(detector: Detector) -> None:
    gray = normal_frames(2)
    assert_same(detector.predict(gray), detector.predict(np.repeat(gray[..., None], 3, axis=3)))


def test_an_empty_batch_is_answered(detector: Detector) -> None:
    for shape in ((0, 48, 56), (0, 48, 56, 3)):
        found = detector.predict(np.empty(shape, dtype=np.uint8))
        assert found.scores.shape == (0,)
        assert found.maps.shape[0] == 0
        assert all(values.shape == (0,) for values in found.features.values())


@pytest.mark.parametrize(("height", "width"), [(32, 32), (33, 47), (61, 32), (128, 75)])
def test_any_size_from_the_patch_up(detector: Detector, height: int, width: int) -> None:
    found = detector.predict(normal_frames(1, height, width))
    assert np.isfinite(found.scores).all()
    assert found.maps[0].size > 0


def test_a_trained_bundle_names_the_images_that_it_was_fitted_on(bundle: Path, normals_folder: Path) -> None:
    """So that `andon calibrate` and `andon evaluate` can tell them from others."""
    info = read_info(bundle)
    if not info.training:
        pytest.skip(f"{info.method} is not trained")
    fitted = set(info.training["fitted_on"])
    normals = {fingerprint(path) for path in find_layout(normals_folder).normals}
    assert fitted < normals
    assert len(fitted) >= info.training["images"]["fit"]
    assert len(normals - fitted) >= info.training["images"]["calibration"]


def test_a_black_frame_has_a_finite_score(detector: Detector) -> None:
    assert np.isfinite(detector.predict(np.zeros((1, 48, 56), dtype=np.uint8)).scores).all()


def test_damaged_weights_are_refused(bundle: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(bundle, tmp_path / "copy"))
    blob = bytearray((copy / WEIGHTS).read_bytes())
    blob[-1] ^= 1
    (copy / WEIGHTS).write_bytes(blob)
    with pytest.raises(BundleError, match="damaged"):
        load_detector(copy, "cpu")


def test_a_digit_changed_in_the_manifest_is_seen(bundle: Path, tmp_path: Path) -> None:
    """It was loaded in silence, and judged by another threshold. Bundles of before hold no word of their own hash."""
    copy = Path(shutil.copytree(bundle, tmp_path / "copy"))
    manifest = json.loads((copy / MANIFEST).read_text())
    manifest["calibration"]["threshold"] += 0.001
    (copy / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match=r"model_hash .* was changed after it was written. Copy the bundle again"):
        load_detector(copy, "cpu")
    del manifest["model_hash"]
    (copy / MANIFEST).write_text(json.dumps(manifest))
    assert read_info(copy).calibration.threshold == manifest["calibration"]["threshold"]


@pytest.mark.parametrize("number", ["NaN", "Infinity", '"nan"'])
def test_a_threshold_that_no_score_reaches_is_refused(bundle: Path, tmp_path: Path, number: str) -> None:
    """By it every frame would be OK."""
    copy = Path(shutil.copytree(bundle, tmp_path / "copy"))
    manifest = json.loads((copy / MANIFEST).read_text())
    manifest["calibration"]["threshold"] = json.loads(number)
    (copy / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match="threshold"):
        load_detector(copy, "cpu")


def test_a_name_that_is_a_path_is_refused(bundles: dict[str, Path], tmp_path: Path) -> None:
    """The page makes versions of a bundle in folders named after it: '../../escaped' lay elsewhere."""
    copy = Path(shutil.copytree(bundles["null"], tmp_path / "copy"))
    manifest = json.loads((copy / MANIFEST).read_text())
    (copy / MANIFEST).write_text(json.dumps(manifest | {"name": "../../escaped"}))
    with pytest.raises(BundleError, match="no path"):
        read_info(copy)


@pytest.mark.parametrize(
    ("quantiles", "said"),
    [
        ({"low": 0.1}, "score_quantiles"),
        ({"0.01": 2.0, "0.99": 1.0}, "must not fall"),
        ({"1.5": 1.0}, "between 0 and 1"),
    ],
)
def test_quantiles_that_no_score_can_be_ranked_by_are_refused(
    bundle: Path, tmp_path: Path, quantiles: dict[str, float], said: str
) -> None:
    """Every score is told its rank: the replica would fall over the first frame."""
    copy = Path(shutil.copytree(bundle, tmp_path / "copy"))
    manifest = json.loads((copy / MANIFEST).read_text())
    manifest["calibration"]["score_quantiles"] = quantiles
    (copy / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match=said):
        load_detector(copy, "cpu")


@pytest.mark.parametrize(
    ("method", "change"),
    [
        ("radar in pixels", {"config": {"rings": 32}}),
        ("radar in features", {"input": {"min_side_px": 10}}),
        ("cflow", {"config": {"patch_px": 4096}}),
    ],
)
def test_a_manifest_by_which_every_frame_would_fail_is_refused(
    bundles: dict[str, Path], tmp_path: Path, method: str, change: dict[str, dict[str, int]]
) -> None:
    copy = Path(shutil.copytree(bundles[method], tmp_path / "copy"))
    manifest = json.loads((copy / MANIFEST).read_text())
    del manifest["model_hash"]
    for part, values in change.items():
        manifest[part] |= values
    (copy / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match=r"cannot score a frame.*do not fit each other"):
        load_detector(copy, "cpu")


def test_a_manifest_of_huge_frames_is_tried_on_a_small_one(bundles: dict[str, Path], tmp_path: Path) -> None:
    """One of the least side that it takes would have been 10 GB."""
    info, tensors = load_bundle(bundles["cflow"])
    huge = info.input.model_copy(update={"height_px": 100_000, "width_px": 100_000, "min_side_px": 100_000})
    save_bundle(tmp_path / "huge", info.model_copy(update={"input": huge}), tensors)
    detector = load_detector(tmp_path / "huge", "cpu")
    assert not detector.info.input.accepts(512, 512)


def test_weights_of_another_hash_are_not_taken_into_memory(bundle: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(bundle, tmp_path / "copy"))
    size = 1 << 27
    with (copy / WEIGHTS).open("r+b") as file:
        file.truncate(size)  # sparse
    tracemalloc.start()
    try:
        with pytest.raises(BundleError, match="damaged"):
            load_detector(copy, "cpu")
        assert tracemalloc.get_traced_memory()[1] < size // 4
    finally:
        tracemalloc.stop()


def test_weights_without_an_end_are_refused(bundles: dict[str, Path], tmp_path: Path) -> None:
    """As by a link in a stranger's archive: who loads the bundle would read on for ever."""
    copy = Path(shutil.copytree(bundles["null"], tmp_path / "copy"))
    (copy / WEIGHTS).unlink()
    os.mkfifo(copy / WEIGHTS)
    with pytest.raises(BundleError, match="is no file"):
        load_detector(copy, "cpu")


def test_a_gpu_would_multiply_in_single_precision() -> None:
    """TF32 rounds to 10 bits, and torch lets cuDNN's convolutions do so by default."""
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
    torch_device("cpu")
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32


@pytest.mark.parametrize("name", ["meta", "mps", "xpu", "cuda:99", "gpu", ""])
def test_a_device_that_is_not_there_is_told_in_a_line(name: str) -> None:
    """torch tells of one that it was built without in a page, and computes nothing on "meta"."""
    with pytest.raises(AndonError, match=r"^there is no device .*take auto, cpu, or cuda") as caught:
        torch_device(name)
    assert len(str(caught.value)) < 400


def test_an_unknown_method_is_refused_with_the_known_ones(bundle: Path, tmp_path: Path) -> None:
    info, tensors = load_bundle(bundle)
    save_bundle(tmp_path / "odd", info.model_copy(update={"method": "tarot"}), tensors)
    with pytest.raises(BundleError, match=r"'tarot'.*null, radar, cflow"):
        load_detector(tmp_path / "odd", "cpu")


def test_a_manifest_of_a_schema_to_come_says_which_release_reads_it(bundle: Path, tmp_path: Path) -> None:
    """And not which of its keys are strange."""
    copy = Path(shutil.copytree(bundle, tmp_path / "copy"))
    manifest = json.loads((copy / MANIFEST).read_text())
    (copy / MANIFEST).write_text(json.dumps({**manifest, "schema_version": 2, "lens": "35 mm"}))
    with pytest.raises(
        BundleError, match=rf"{MANIFEST} is of schema 2, and .* run the release that wrote it"
    ) as caught:
        load_detector(copy, "cpu")
    assert "lens" not in str(caught.value)


def test_what_is_wrong_with_a_manifest_is_said_in_a_line(bundle: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(bundle, tmp_path / "copy"))
    manifest = json.loads((copy / MANIFEST).read_text())
    manifest["calibration"]["threshold"] = "high"
    del manifest["method"]
    (copy / MANIFEST).write_text(json.dumps(manifest))
    wanted = (
        rf"{MANIFEST} describes no bundle: method: Field required, calibration.threshold: .*. Copy the bundle again$"
    )
    with pytest.raises(BundleError, match=wanted) as caught:
        load_detector(copy, "cpu")
    assert "http" not in str(caught.value)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you"),
    ],
    ids=["GPU", "CPU"],
)
def test_a_device_without_room_is_no_damaged_bundle(
    error: Exception, bundles: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Played, as no GPU is at hand and other tests need the memory. Whoever read that would have trained for hours."""

    def full(*_: object) -> Detector:
        raise error

    monkeypatch.setattr(registry, "_BUILDERS", {"cflow": full})
    with pytest.raises(
        BundleError, match=r"can't be loaded on cpu .*(CUDA out of|can't allocate) memory.*look who else fills it"
    ) as told:
        load_detector(bundles["cflow"], "cpu")
    assert "train" not in str(told.value)


@pytest.mark.parametrize(
    ("method", "tensor"),
    [("radar in pixels", "forest.depth"), ("radar in features", "forest.left"), ("cflow", "flow.2")],
)
def test_weights_of_a_strange_shape_are_refused_in_a_line(
    bundles: dict[str, Path], tmp_path: Path, method: str, tensor: str
) -> None:
    """numpy and torch each have kinds of errors of their own for it, and torch names every tensor in pages."""
    info, tensors = load_bundle(bundles[method])
    strange = {name: array.ravel()[:0] if name.startswith(tensor) else array for name, array in tensors.items()}
    save_bundle(tmp_path / "strange", info, strange)
    with pytest.raises(BundleError, match=r"strange does not hold a whole .* model .*Copy the bundle again") as caught:
        load_detector(tmp_path / "strange", "cpu")
    assert len(str(caught.value)) < 800
