"""The commands around a model, as a person meets them."""

import csv
import errno
import json
import shutil
import sys
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import NoReturn

import numpy as np
import pytest
from detectors.conftest import normal_frames, write_images
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from pipeline.detectors.base import Detector
from pipeline.detectors.bundle import read_info, save_bundle
from pipeline.detectors.null import make_null_bundle
from pipeline.detectors.registry import load_detector
from pipeline.files.alone import alone_in
from pipeline.replica.single import Judged, judge
from pipeline.training.images.data import DataError, fingerprint
from pipeline.training.predict_folder import predict_folder
from workers.alerting.policy import MAX_WINDOW
from workers.cli import main
from workers.commands.train import next_step

pytestmark = pytest.mark.unit


def andon(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """Runs the command in this process: a new one would spend its time importing torch. Returns the exit code."""
    monkeypatch.setattr(sys, "argv", ["andon", *map(str, arguments)])
    with pytest.raises(SystemExit) as exit_info:
        main()
    return int(exit_info.value.code or 0)


def test_evaluate_writes_figures_and_card(
    bundles: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_images(tmp_path / "train" / "good", normal_frames(1))
    write_images(tmp_path / "test" / "good", normal_frames(4, seed=1))
    write_images(tmp_path / "test" / "hole", normal_frames(3, seed=2) // 2)
    figures = tmp_path / "figures.json"
    assert andon(monkeypatch, "evaluate", bundles["null"], "--data", tmp_path, "--json", figures, "--card") == 0
    found = json.loads(figures.read_text())
    assert found["defective"] == 3
    docs = (Path(__file__).parents[2] / "docs" / "detectors.md").read_text()
    assert [key for key in found if f"`{key}`" not in docs] == []
    assert (bundles["null"] / "README.md").read_text().startswith("# null")


def test_a_user_error_is_a_sentence_and_exit_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert andon(monkeypatch, "train", "radar", "--data", tmp_path / "nowhere", "--out", tmp_path / "out") == 2
    assert "there is no folder" in capsys.readouterr().err


def test_calibrate_writes_a_new_bundle_and_leaves_the_old_one(
    bundles: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_images(tmp_path / "more", normal_frames(40, seed=5))
    asked = ("--false-stops-per-shift", 500, "--fps", 1, "--k", 2, "--n", 3)
    before = read_info(bundles["null"])
    (bundles["null"] / "README.md").write_text("of the old threshold")
    out = tmp_path / "out"
    assert andon(monkeypatch, "calibrate", bundles["null"], "--data", tmp_path / "more", "--out", out, *asked) == 0
    after = load_detector(out).info
    assert read_info(bundles["null"]) == before
    assert after.model_hash != before.model_hash
    assert after.weights_sha256 == before.weights_sha256
    assert after.calibration.normals == 40
    assert not (out / "README.md").exists()
    assert after.calibration.promise is not None
    assert (after.calibration.promise.k, after.calibration.promise.n) == (2, 3)
    assert (load_detector(out).predict(normal_frames(40, seed=5)).scores >= after.calibration.threshold).mean() < 0.2
    said = capsys.readouterr().out
    assert "at most" in said
    assert "95 % interval 0.023 to 427, if parts are independent" in said
    assert andon(monkeypatch, "calibrate", out, "--data", tmp_path / "more", "--in-place", "--n", 3, *asked[:-2]) == 0
    assert andon(monkeypatch, "calibrate", out, "--data", tmp_path / "more", *asked) == 2
    assert "either --out FOLDER or --in-place" in capsys.readouterr().err


def test_calibrate_counts_no_more_parts_than_a_policy_does(
    bundles: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A promise for a line that nobody can set up is none."""
    write_images(tmp_path / "more", normal_frames(40, seed=5))
    command = ("calibrate", bundles["null"], "--data", tmp_path / "more", "--out", tmp_path / "out", "--k", MAX_WINDOW)
    assert andon(monkeypatch, *command, "--n", MAX_WINDOW) == 0
    assert andon(monkeypatch, *command, "--n", MAX_WINDOW + 1) == 2
    assert f"than or equal to {MAX_WINDOW}" in capsys.readouterr().err


def test_calibrate_leaves_out_what_the_model_was_fitted_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_images(tmp_path / "more", normal_frames(30))
    info = make_null_bundle(tmp_path / "b", 48, 56)
    seen = [fingerprint(path) for path in sorted((tmp_path / "more").iterdir())[:10]]
    save_bundle(tmp_path / "b", info.model_copy(update={"training": {"fitted_on": seen}}), {})
    command = ("calibrate", tmp_path / "b", "--data", tmp_path / "more", "--out", tmp_path / "c", "--fps", 1)
    assert andon(monkeypatch, *command, "--false-stops-per-shift", 3000, "--k", 2, "--n", 3) == 0
    assert "left out 10 images" in capsys.readouterr().out
    assert read_info(tmp_path / "c").calibration.normals == 20
    assert andon(monkeypatch, *command, "--false-stops-per-shift", 1) == 2
    assert "20 held-out normals cannot promise 1 false stop in a shift" in capsys.readouterr().err


@pytest.mark.parametrize("drifting", [True, False])
def test_calibrate_tells_of_parts_that_are_not_independent(
    drifting: bool,
    bundles: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Its promise takes them to be. Numbers tell their order, and not names: part9.png, part10.png."""
    frames = normal_frames(40, seed=5)
    (tmp_path / "more").mkdir()
    for number, frame in enumerate(sorted(frames, key=np.mean) if drifting else frames):
        Image.fromarray(frame).save(tmp_path / "more" / f"part{number}.png")
    command = ("calibrate", bundles["null"], "--data", tmp_path / "more", "--out", tmp_path / "out", "--fps", 1)
    assert andon(monkeypatch, *command, "--false-stops-per-shift", 3000, "--k", 2, "--n", 3) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert ("note: these parts score like the one before (rank correlation 0.9" in told) is drifting


def test_calibrate_counts_copies_once(
    bundles: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_images(tmp_path / "more", normal_frames(20, seed=5))
    for path in sorted((tmp_path / "more").iterdir()):
        (tmp_path / "more" / f"{path.stem}-again.png").write_bytes(path.read_bytes())
    command = ("calibrate", bundles["null"], "--data", tmp_path / "more", "--out", tmp_path / "out", "--fps", 1)
    assert andon(monkeypatch, *command, "--false-stops-per-shift", 3000, "--k", 2, "--n", 3) == 0
    assert "20 images left out as copies of others" in capsys.readouterr().out
    assert read_info(tmp_path / "out").calibration.normals == 20


def test_a_camera_that_hung_sets_no_threshold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """400 files of one picture, of other bytes each, promised one false stop a shift at a threshold that every part
    reached."""
    make_null_bundle(tmp_path / "b", 48, 56)
    (tmp_path / "more").mkdir()
    for number, frame in enumerate([*normal_frames(20, seed=5), *normal_frames(1, seed=6).repeat(10, axis=0)]):
        stamp = PngInfo()
        stamp.add_text("Creation Time", str(number))
        Image.fromarray(frame).save(tmp_path / "more" / f"part{number:04d}.png", pnginfo=stamp)
    command = ("calibrate", tmp_path / "b", "--data", tmp_path / "more", "--out", tmp_path / "out", "--fps", 1)
    assert andon(monkeypatch, *command, "--false-stops-per-shift", 3000, "--k", 2, "--n", 3) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "9 images left out as copies of others, pixel for pixel" in told
    assert "from 21 good images" in told
    assert read_info(tmp_path / "out").calibration.normals == 21
    assert andon(monkeypatch, *command, "--false-stops-per-shift", 700, "--k", 2, "--n", 3) == 2
    told = capsys.readouterr().err
    assert "21 held-out normals cannot promise" in told
    assert "9 images left out" in told


def test_predict_writes_what_the_model_says_and_skips_what_is_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out"
    info = make_null_bundle(tmp_path / "b", 48, 56)
    write_images(photos / "sub", normal_frames(2))
    write_images(photos, np.full((1, 40, 40), 255, np.uint8))
    assert andon(monkeypatch, "predict", tmp_path / "b", photos, "--out", out) == 0
    (photos / "torn.png").write_bytes(b"torn")
    assert andon(monkeypatch, "predict", tmp_path / "b", photos, "--out", out) == 1
    assert "torn.png: cannot be read" in capsys.readouterr().err
    lines = {line["file"]: line for line in map(json.loads, (out / "results.jsonl").read_text().splitlines())}
    assert lines["part0000.png"]["verdict"] == "NOT_DECIDABLE"
    assert lines["part0000.png"]["doubts"] == ["wrong_size"]
    assert "cannot be read" in lines["torn.png"]["error"]
    expected = load_detector(tmp_path / "b").predict(normal_frames(2))
    found = lines["sub/part0001.png"]
    assert found["score"] == expected.scores[1]
    assert found["verdict"] == ("NOT_OK" if expected.scores[1] >= info.calibration.threshold else "OK")
    levels = np.asarray(Image.open(out / "maps" / "sub" / "part0001.png.png")) / 65535
    raw = found["map_low"] + levels * (found["map_high"] - found["map_low"])
    np.testing.assert_allclose(raw, expected.maps[1], atol=1e-4)
    assert str(found["map_high"]) == str(expected.maps[1].max())  # no noise of another precision behind it
    assert Image.open(out / "overlays" / "sub" / "part0001.png.jpg").height == 48 + 22
    rows = list(csv.DictReader((out / "results.csv").open()))
    assert [row["file"] for row in rows] == sorted(lines)
    assert float(rows[1]["mean_level"]) == expected.features["mean_level"][0]


@pytest.mark.parametrize("out", ["in/judged", "in", "."])
def test_predict_judges_all_images_and_not_what_it_drew_last_time(
    out: str, bundles: dict[str, Path], tmp_path: Path
) -> None:
    write_images(tmp_path / "in", normal_frames(3))
    detector = load_detector(bundles["null"], "cpu")
    for _ in range(2):
        assert len(predict_folder(detector, tmp_path / "in", tmp_path / out)) == 3


def test_images_where_predict_would_write_its_pictures_are_told(bundles: dict[str, Path], tmp_path: Path) -> None:
    write_images(tmp_path / "maps", normal_frames(3))
    with pytest.raises(DataError, match=r"all 3 images .* give another --out"):
        predict_folder(load_detector(bundles["null"], "cpu"), tmp_path / "maps", tmp_path)


def test_names_too_long_for_another_ending_are_cut_and_the_results_say_how(
    bundles: dict[str, Path], tmp_path: Path
) -> None:
    names = [f"{'ü' * 124}{end}.png" for end in ("a", "b", "1.n")]
    for name, frame in zip(names, normal_frames(3), strict=True):
        (tmp_path / "in" / "deep").mkdir(parents=True, exist_ok=True)
        Image.fromarray(frame).save(tmp_path / "in" / "deep" / name)
    out = tmp_path / "out"
    predict_folder(load_detector(bundles["null"], "cpu"), tmp_path / "in", out)
    rows = list(csv.DictReader((out / "results.csv").open()))
    assert {row["file"] for row in rows} == {f"deep/{name}" for name in names}
    assert len({row["drawn_as"] for row in rows}) == 3
    for row in rows:
        assert (out / "maps" / f"{row['drawn_as']}.png").is_file()
        assert (out / "overlays" / f"{row['drawn_as']}.jpg").is_file()


def test_predict_judges_folders_behind_links(bundles: dict[str, Path], tmp_path: Path) -> None:
    write_images(tmp_path / "apart", normal_frames(2))
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "linked").symlink_to(tmp_path / "apart")
    lines = predict_folder(load_detector(bundles["null"], "cpu"), tmp_path / "in", tmp_path / "out")
    assert [line.file for line in lines] == ["linked/part0000.png", "linked/part0001.png"]


def test_predict_tells_of_pictures_that_it_does_not_read(
    bundles: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_images(tmp_path / "in" / "deep", normal_frames(2))
    Image.fromarray(normal_frames(1)[0]).save(tmp_path / "in" / "deep" / "other.BMP")
    assert andon(monkeypatch, "predict", bundles["null"], tmp_path / "in", "--out", tmp_path / "out") == 0
    assert "1 picture of other formats left out" in capsys.readouterr().err


def test_no_file_name_is_a_formula_to_a_spreadsheet(bundles: dict[str, Path], tmp_path: Path) -> None:
    names = ["=1+1.png", "@a.png", "plain.png"]
    write_images(tmp_path / "in", normal_frames(3))
    for number, name in enumerate(names):
        (tmp_path / "in" / f"part{number:04d}.png").rename(tmp_path / "in" / name)
    (tmp_path / "in" / "-torn.png").write_bytes(b"torn")
    predict_folder(load_detector(bundles["null"], "cpu"), tmp_path / "in", tmp_path / "out")
    rows = list(csv.DictReader((tmp_path / "out" / "results.csv").open()))
    assert [row["file"] for row in rows] == ["'-torn.png", "'=1+1.png", "'@a.png", "plain.png"]
    lines = map(json.loads, (tmp_path / "out" / "results.jsonl").read_text().splitlines())
    assert [line["file"] for line in lines] == ["-torn.png", *names]


def test_maps_of_good_parts_keep_their_colours_beside_many_of_damage(tmp_path: Path) -> None:
    frames = np.zeros((9, 48, 56), np.uint8)
    frames[:4, 10:20, 10:20] = 4
    frames[4:, 10:, :] = 255
    write_images(tmp_path / "photos", frames)
    make_null_bundle(tmp_path / "b", 48, 56, threshold=0.5)
    predict_folder(load_detector(tmp_path / "b"), tmp_path / "photos", tmp_path / "out", maps="none")
    with Image.open(tmp_path / "out" / "overlays" / "part0000.png.jpg") as drawn:
        heat_map = np.asarray(drawn)[-48:, 60:116]
    assert heat_map.max() > 80


def test_images_that_are_taken_away_meanwhile_cost_no_other_overlay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A camera's folder is cleared day by day. One image that was gone by then ended the command, and the rest of
    the overlays and the word on how many are NOT_OK were not written."""
    make_null_bundle(tmp_path / "bundle", 48, 56)
    write_images(tmp_path / "in", normal_frames(3))

    seen = count()

    def and_cleared(pixels: NDArray[np.uint8], detector: Detector) -> Judged:
        if next(seen) == 2:
            (tmp_path / "in" / "part0001.png").unlink()
        return judge(pixels, detector)

    monkeypatch.setattr("pipeline.training.predict_folder.judge", and_cleared)
    out = tmp_path / "out"
    assert andon(monkeypatch, "predict", tmp_path / "bundle", tmp_path / "in", "--out", out) == 0
    assert sorted(path.name for path in (out / "overlays").iterdir()) == ["part0000.png.jpg", "part0002.png.jpg"]
    told = capsys.readouterr()
    assert "no overlay of in/part0001.png: scored, and" in told.err
    assert "3 NOT_OK" in told.out


def test_a_predict_that_is_stopped_leaves_what_it_has_found(
    bundles: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An hour of scores was lost. What stands there under the whole name is the last run's, and whole."""
    write_images(tmp_path / "in", normal_frames(3))
    out = tmp_path / "out"
    predict = ("predict", bundles["null"], tmp_path / "in", "--out", out)
    assert andon(monkeypatch, *predict) == 0
    (tmp_path / "in" / "part0000.png").rename(tmp_path / "in" / "again.png")
    seen = count()

    def until_the_third(pixels: NDArray[np.uint8], detector: Detector) -> Judged:
        if next(seen) == 2:
            raise KeyboardInterrupt
        return judge(pixels, detector)

    with monkeypatch.context() as stopped:
        stopped.setattr("pipeline.training.predict_folder.judge", until_the_third)
        assert andon(monkeypatch, *predict) == 130
    assert f"what was found by then: {out / 'results.csv.part'}" in capsys.readouterr().err
    for read, name in ((csv.DictReader, "results.csv"), (lambda file: map(json.loads, file), "results.jsonl")):
        found = [row["file"] for row in read((out / f"{name}.part").open())]
        assert found == ["again.png", "part0001.png"]
        assert [row["file"] for row in read((out / name).open())] == [f"part000{number}.png" for number in range(3)]
    assert andon(monkeypatch, *predict) == 0
    assert not list(out.glob("*.part"))


@pytest.mark.parametrize("picture", ["maps/part0000.png.png", "maps/part0000.png.npy", "overlays/part0000.png.jpg"])
def test_a_disk_that_pictures_fill_is_named_and_no_half_of_one_is_left(
    picture: str,
    bundles: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_images(tmp_path / "photos", normal_frames(1))
    out = tmp_path / "out"
    (out / picture).parent.mkdir(parents=True)
    (out / picture).symlink_to("/dev/full")
    maps = "npy" if picture.endswith("npy") else "png"
    arguments = ("predict", bundles["cflow"], tmp_path / "photos", "--out", out, "--maps", maps)
    assert andon(monkeypatch, *arguments) == 2
    assert f"No space left on device: {out / picture}" in capsys.readouterr().err
    assert not (out / picture).is_symlink()
    assert (out / "results.csv").exists()


def test_what_a_mac_lays_beside_pictures_is_none(
    bundles: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A set that came on a stick was refused, file by file."""
    for place, levels in (("test/good", 1), ("test/hole", 2), ("ground_truth/hole", 3)):
        write_images(tmp_path / "data" / place, normal_frames(3) // levels)
        for path in sorted((tmp_path / "data" / place).iterdir()):
            path.with_name(f"._{path.name}").write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X")
    assert andon(monkeypatch, "evaluate", bundles["null"], "--data", tmp_path / "data") == 0
    assert andon(monkeypatch, "predict", bundles["null"], tmp_path / "data", "--out", tmp_path / "out") == 0
    assert len((tmp_path / "out" / "results.csv").read_text().splitlines()) == 1 + 6


@pytest.mark.parametrize("masks", ["ground_truth/hole", "candle/Data/Masks/Anomaly"])
def test_predict_judges_no_masks_and_says_so(masks: str, bundles: dict[str, Path], tmp_path: Path) -> None:
    """At the root of MVTec's sets, or VisA's, each mask was a frame with a verdict of its own."""
    write_images(tmp_path / "masks" / "test" / "hole", normal_frames(2))
    write_images(tmp_path / "masks" / masks, normal_frames(3))
    told: list[str] = []
    detector = load_detector(bundles["null"], "cpu")
    lines = predict_folder(detector, tmp_path / "masks", tmp_path / "out", say=told.append)
    assert [line.file for line in lines] == ["test/hole/part0000.png", "test/hole/part0001.png"]
    assert told == ["note: 3 images in folders of masks (ground_truth, masks, mask) left out"]


def test_predict_of_nothing_is_refused(
    bundles: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert andon(monkeypatch, "predict", bundles["null"], tmp_path, "--out", tmp_path / "out") == 2
    assert "holds no PNG or JPEG" in capsys.readouterr().err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a disk that is always full")
@pytest.mark.parametrize("file", ["model.safetensors", "bundle.json"])
def test_a_full_disk_is_named_and_leaves_the_bundle_that_was_there(
    file: str,
    bundles: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What training writes the file to first is that disk."""
    write_images(tmp_path / "data", normal_frames(40))
    old = Path(shutil.copytree(bundles["cflow"], tmp_path / "old"))
    (old / f"{file}.part").symlink_to("/dev/full")
    arguments = ("train", "cflow", "--epochs", 0, "--data", tmp_path / "data", "--out", old)
    assert andon(monkeypatch, *arguments, "--false-alarm-rate", 0.1) == 2
    assert "No space left on device" in capsys.readouterr().err
    assert load_detector(old, "cpu").info == read_info(bundles["cflow"])


SPACE, WEIGHTS = ("--data", "data", "--out", "out", "--space"), ("--encoder-weights", "file")
STOPS = ("--false-stops-per-shift",)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("train", "radar", "--data", "data", "--out", "file"), "file is a file: give a folder to write into"),
        (("train", "radar", "--data", "data", "--out", "file/below"), "cannot be made"),
        (
            ("train", "radar", "--data", "data", "--out", "circle"),
            "circle cannot be made: Too many levels of symbolic links",
        ),
        (("train", "radar", *SPACE, "wavelets", *WEIGHTS), "--space wavelets uses no encoder: leave out"),
        (("train", "radar", *SPACE, "pixels", *WEIGHTS), "--space pixels uses no encoder: leave out"),
        (("train", "radar", *SPACE, "pixels", "--steps", "9", "--epochs", "1"), "either --steps or --epochs"),
        (("train", "cflow", "--data", "data", "--out", "out", "--device", "gpu"), "there is no device 'gpu' here"),
        (("predict", "bundle", "file", "--out", "out"), "file is a file: give the folder that it lies in"),
        (("evaluate", "bundle", "--data", "data", "--json", "file/figures.json"), "file is a file: give a folder"),
        (("evaluate", "bundle", "--data", "data", "--json", 300 * "x"), "File name too long"),
        (("evaluate", "bundle", "--data", "data", "--report", "/proc/report"), "/proc takes no files from this user"),
        (("map", "weld-1:0:1", "--out", "data"), "data is a folder: give a file to write to"),
        (("calibrate", "bundle", "--data", "data", "--out", "file/below"), "cannot be made"),
        (
            ("calibrate", "bundle", "--data", "data", "--out", "out", *STOPS, "1e-300"),
            "that few no number of images can show",
        ),
        (("export", "bundle", "--to", "onnx", "--out", "file/below"), "cannot be made"),
        (("export", "bundle", "--to", "onnx", "--data", "small"), "none of the images in small is of a size"),
        (("export", "bundle", "--to", "onnx", "--data", "small/cap"), "lie in folders of masks"),
    ],
)
def test_what_cannot_work_is_said_before_the_work(
    arguments: tuple[str, ...],
    sentence: str,
    bundles: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    write_images(tmp_path / "data", normal_frames(4))
    write_images(tmp_path / "small", normal_frames(2, 20, 20))
    write_images(tmp_path / "small" / "cap" / "ground_truth" / "hole", normal_frames(1))
    (tmp_path / "file").touch()
    (tmp_path / "circle").symlink_to("circle")
    (tmp_path / "bundle").symlink_to(bundles["null"])
    assert andon(monkeypatch, *arguments) == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [("evaluate", "bundle", "--card"), ("calibrate", "bundle", "--in-place"), ("export", "bundle")]
)
def test_a_bundle_that_takes_no_files_is_told_before_the_work(
    arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Were it told after, it would be of the images that are missing."""
    monkeypatch.chdir(tmp_path)
    make_null_bundle(tmp_path / "bundle", 48, 56)

    def refuse(dir: Path) -> NoReturn:
        raise PermissionError(errno.EACCES, "Permission denied", str(dir))

    monkeypatch.setattr("workers.commands.places.tempfile", SimpleNamespace(TemporaryFile=refuse))  # root may write
    target = ("--to", "onnx") if arguments[0] == "export" else ()
    assert andon(monkeypatch, *arguments, *target, "--data", "nowhere") == 2
    assert "takes no files from this user" in capsys.readouterr().err


def test_two_trainings_into_one_place_are_one_too_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """They would take each other's checkpoint away. --fresh must not do so either."""
    write_images(tmp_path / "data", normal_frames(4))
    checkpoint = tmp_path / "out.checkpoint"
    arguments = ("train", "radar", "--fresh", "--data", tmp_path / "data", "--out", tmp_path / "out")
    with alone_in(checkpoint, "this test is"):
        for _ in range(2):
            assert andon(monkeypatch, *arguments) == 2
            assert "another training keeps its checkpoint" in capsys.readouterr().err
    assert andon(monkeypatch, *arguments) == 2
    assert "normals 1 remain for the threshold" in capsys.readouterr().err
    assert not checkpoint.exists()


def test_two_exports_into_one_place_are_one_too_many(
    bundles: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One took the other's draft away, which said '[Errno 2] No such file or directory: … bundle.json.part'."""
    out = tmp_path / "out"
    with alone_in(out, "this test is"):
        assert andon(monkeypatch, "export", bundles["radar in pixels"], "--to", "onnx", "--out", out) == 2
        assert out.is_dir()
    assert f"another `andon export` writes its graphs in {out}: wait for it" in capsys.readouterr().err


def test_two_predicts_into_one_place_are_one_too_many(
    bundles: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """They wrote over each other's lines: the table had torn ones, and others were gone."""
    write_images(tmp_path / "in", normal_frames(2))
    out = tmp_path / "out"
    predict = ("predict", bundles["null"], tmp_path / "in", "--out", out)
    codes: list[int] = []

    def while_another_begins(pixels: NDArray[np.uint8], detector: Detector) -> Judged:
        if not codes:
            codes.append(0)
            codes.append(andon(monkeypatch, *predict))
        return judge(pixels, detector)

    monkeypatch.setattr("pipeline.training.predict_folder.judge", while_another_begins)
    assert andon(monkeypatch, *predict) == 0
    assert codes == [0, 2]
    assert f"another `andon predict` writes its results in {out}: wait for it" in capsys.readouterr().err
    assert [row["file"] for row in csv.DictReader((out / "results.csv").open())] == ["part0000.png", "part0001.png"]


def test_a_training_onto_a_bundle_takes_its_card_away(tmp_path: Path) -> None:
    info = make_null_bundle(tmp_path / "bundle", 48, 56)
    (tmp_path / "bundle" / "README.md").write_text("of another model")
    save_bundle(tmp_path / "bundle", info, {})
    assert not (tmp_path / "bundle" / "README.md").exists()


def test_names_are_no_markup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_images(tmp_path / "test" / "good", normal_frames(2))
    write_images(tmp_path / "test" / "x[red]y", normal_frames(2) // 2)
    info = make_null_bundle(tmp_path / "bundle", 48, 56)
    save_bundle(tmp_path / "bundle", info.model_copy(update={"name": "lens [b] A"}), {})
    assert andon(monkeypatch, "evaluate", tmp_path / "bundle", "--data", tmp_path) == 0
    told = capsys.readouterr().out
    assert "lens [b] A" in told
    assert "x[red]y" in told


def test_names_of_other_systems_end_no_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A ZIP from Windows unpacks to folders whose names are no UTF-8. The figures of a test with such a class were
    lost after all was scored, and of a training or a calibration in such a folder nothing was left but a trace."""
    data, bundle, tuned = (tmp_path / name for name in ("gr\udcfcn", "b\udcfc", "c\udcfc"))
    info = make_null_bundle(bundle, 48, 56)
    save_bundle(bundle, info.model_copy(update={"name": bundle.name, "training": {"data": str(data)}}), {})
    write_images(data / "train" / "good", normal_frames(12))
    write_images(data / "test" / "good", normal_frames(3, seed=1))
    write_images(data / "test" / "L\udcf6cher", normal_frames(3, seed=2) // 2)
    asked = ("--k", 4, "--n", 4, "--fps", 0.01)
    assert andon(monkeypatch, "calibrate", bundle, "--data", data, *asked, "--out", tuned) == 0
    assert andon(monkeypatch, "evaluate", tuned, "--data", data, "--json", data / "figures.json") == 0
    assert "L\\udcf6cher" in capsys.readouterr().out
    assert json.loads((data / "figures.json").read_text())["defective"] == 3
    was, now = read_info(bundle), read_info(tuned)
    assert (was.name, now.name) == ("b\\udcfc", "c\\udcfc")
    assert was.training["data"] == now.training["calibrated"]["data"] == str(tmp_path / "gr\\udcfcn")


def test_links_whose_files_are_gone_are_named_and_not_left_out(
    bundles: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Data sets are kept apart and linked to. On a machine that lacks them half of the images were missing in silence,
    and the figures were of the other half."""
    for place in ("train/good", "test/good", "test/hole"):
        write_images(tmp_path / "data" / place, normal_frames(12))
        (tmp_path / "data" / place / "part0012.png").symlink_to("/nowhere/part0012.png")
    told = "part0012.png: leads to a file that is not there"
    trained = ("train", "radar", "--false-alarm-rate", 0.3, "--out", tmp_path / "a")
    calibrated = ("calibrate", bundles["null"], "--k", 4, "--n", 4, "--fps", 0.01, "--out", tmp_path / "b")
    for command in (trained, calibrated, ("evaluate", bundles["null"])):
        assert andon(monkeypatch, *command, "--data", tmp_path / "data") == 2
        assert told in capsys.readouterr().err
    assert andon(monkeypatch, "predict", bundles["null"], tmp_path / "data", "--out", tmp_path / "c") == 1
    assert capsys.readouterr().err.count(told) == 3


def test_a_link_to_itself_is_named_and_costs_no_other_image(
    bundles: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One of them ended `predict` in a trace before the first image."""
    write_images(tmp_path / "data", normal_frames(2))
    (tmp_path / "data" / "self.png").symlink_to("self.png")
    assert andon(monkeypatch, "predict", bundles["null"], tmp_path / "data", "--out", tmp_path / "out") == 1
    assert "skipped 1 of 3 files" in capsys.readouterr().err


def test_images_of_the_other_mode_are_told_of(
    bundles: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Brought to gray without a word, they hide stains from a model that was trained on gray."""
    write_images(tmp_path / "in", normal_frames(41, seed=5))
    Image.fromarray(normal_frames(1, seed=6)[0]).convert("RGB").save(tmp_path / "in" / "red.png")
    told = "1 of 42 images stored in colour, and the model sees gray alone"
    assert andon(monkeypatch, "predict", bundles["null"], tmp_path / "in", "--out", tmp_path / "out") == 0
    captured = capsys.readouterr()
    assert (captured.out + captured.err).count(told) == 1
    asked = ("--false-stops-per-shift", 500, "--fps", 1, "--k", 2, "--n", 3)
    out = tmp_path / "new"
    assert andon(monkeypatch, "calibrate", bundles["null"], "--data", tmp_path / "in", "--out", out, *asked) == 0
    assert " ".join(capsys.readouterr().out.split()).count(told) == 1

    write_images(tmp_path / "test" / "good", normal_frames(2))
    write_images(tmp_path / "test" / "hole", normal_frames(2, seed=2) // 2)
    info = read_info(bundles["null"])
    in_colour = info.model_copy(update={"input": info.input.model_copy(update={"mode": "rgb"})})
    save_bundle(tmp_path / "in-colour", in_colour, {})
    assert andon(monkeypatch, "evaluate", tmp_path / "in-colour", "--data", tmp_path) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert said.count("4 of 4 images stored in gray, and the model was trained in colour") == 1


@pytest.mark.parametrize("learnt", [True, False])
def test_a_training_stopped_by_ctrl_c_tells_how_it_goes_on(
    learnt: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It ended without a word, and nobody knew whether hours were lost."""

    def stopped(*_: object, checkpoint: Path, **__: object) -> NoReturn:
        if learnt:
            (checkpoint / "state.json").touch()
        raise KeyboardInterrupt

    monkeypatch.setattr("pipeline.training.train.train", stopped)
    assert andon(monkeypatch, "train", "radar", "--data", tmp_path, "--out", tmp_path / "out") == 130
    said = " ".join(capsys.readouterr().err.split())
    assert (f"what was learnt by then is in {tmp_path / 'out.checkpoint'}: the same command goes on" in said) is learnt
    assert (tmp_path / "out.checkpoint").exists() is learnt


def test_figures_are_told_though_the_report_finds_no_room(
    bundles: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The report came first, and what an hour of scoring had found was gone with it."""
    write_images(tmp_path / "test" / "good", normal_frames(2))
    write_images(tmp_path / "test" / "hole", normal_frames(2, seed=2) // 2)

    def full(*_: object) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device", "index.html.part")

    monkeypatch.setattr("pipeline.training.figures.report.write_report", full)
    asked = ("--json", tmp_path / "figures.json", "--report", tmp_path / "report")
    assert andon(monkeypatch, "evaluate", bundles["null"], "--data", tmp_path, *asked) == 2
    captured = capsys.readouterr()
    assert "at the threshold: " in captured.out
    assert "No space left on device" in captured.err
    assert json.loads((tmp_path / "figures.json").read_text())["defective"] == 2


@pytest.mark.parametrize("unlike", [True, False])
def test_calibrate_tells_of_parts_that_the_model_does_not_know(
    unlike: bool,
    bundles: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Of another product's good parts three in four were NOT_OK, and the threshold rose above them without a word."""
    frames = normal_frames(40, seed=5)
    write_images(tmp_path / "more", np.minimum(frames, 210) + np.uint8(45) if unlike else frames)
    info = read_info(bundles["null"])
    scores = load_detector(bundles["null"]).predict(frames).scores
    known = info.calibration.model_copy(update={"threshold": float(scores.max()) + 0.01})
    save_bundle(tmp_path / "known", info.model_copy(update={"calibration": known}), {})
    asked = ("--false-stops-per-shift", 500, "--fps", 1, "--k", 2, "--n", 3, "--out", tmp_path / "new")
    assert andon(monkeypatch, "calibrate", tmp_path / "known", "--data", tmp_path / "more", *asked) == 0
    assert ("unlike those that the model learnt" in " ".join(capsys.readouterr().out.split())) is unlike


@pytest.mark.parametrize(
    ("images", "told"),
    [
        (("1.png",), "next, with other images than these in TEST/good and TEST/<class of defect>: {} --data TEST"),
        (("good/1.png", "bent/1.png"), "next, with other images than these in TEST/good and TEST/<class of defect>: "),
        (("train/good/1.png",), "next, with {data}/test/good and {data}/test/<class of defect>: {} --data {data}"),
        (("train/good/1.png", "test/good/1.png", "test/bent/1.png"), "next: {} --data {data}"),
    ],
)
def test_a_training_tells_how_to_measure_it_by_images_that_it_has_not_seen(
    tmp_path: Path, images: tuple[str, ...], told: str
) -> None:
    """Of a plain folder it told of a train/ that was not there, and of a command that was refused or measured the model
    by what it had learnt."""
    for image in images:
        (tmp_path / image).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (32, 32)).save(tmp_path / image)
    assert next_step(Path("weld"), tmp_path).startswith(told.format("andon evaluate weld", data=tmp_path))
