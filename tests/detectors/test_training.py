"""Training: what it refuses, that it can be killed, and that it repeats itself."""

import weakref
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from detectors.conftest import TINY_CFLOW_PLAN, TINY_CONFIG, TINY_PLAN, normal_frames, write_images
from numpy.testing import assert_array_equal
from numpy.typing import NDArray
from PIL import Image

from pipeline.detectors.bundle import read_info
from pipeline.detectors.radar.border import closeness
from pipeline.detectors.radar.config import RadarConfig
from pipeline.detectors.radar.preprocess import normalise
from pipeline.frames import Mode, decode, doubts_of_pixels
from pipeline.training import memory
from pipeline.training.checkpoint import Progress
from pipeline.training.drawn.synthetic import KINDS, drawn_defects, with_defect
from pipeline.training.images import data
from pipeline.training.images.data import DataError, Frames, Looked, fingerprint, look_at
from pipeline.training.images.layouts import find_layout
from pipeline.training.images.split import Shares
from pipeline.training.normals import read_normals
from pipeline.training.radar import fit, noise_training
from pipeline.training.radar.feature_front import as_many_as_fit
from pipeline.training.radar.fit import fit_gain
from pipeline.training.radar.noise_training import NoisePlan, draw_patches, train_noise_predictor
from pipeline.training.threshold.calibrate import CalibrationError, Light
from pipeline.training.told import Told
from pipeline.training.train import Plan, train

pytestmark = pytest.mark.unit

PLAN = NoisePlan(steps=6, batch=2, checkpoint_every_s=0)


class Killed(Exception):
    pass


def kill_after(step: int):  # type: ignore[no-untyped-def]
    def on_step(progress: Progress) -> None:
        if progress.step == step:
            raise Killed

    return on_step


def images() -> list[torch.Tensor]:
    return fit_gain(normal_frames(6), TINY_CONFIG, channels=1)[1]


def test_a_resumed_run_ends_as_the_uninterrupted_one(tmp_path: Path) -> None:
    whole, _ = train_noise_predictor(images(), TINY_CONFIG, PLAN)
    with pytest.raises(Killed):
        train_noise_predictor(images(), TINY_CONFIG, PLAN, tmp_path, told=Told(reached=kill_after(4)))
    seen: list[int] = []
    resumed, _ = train_noise_predictor(
        images(), TINY_CONFIG, PLAN, tmp_path, told=Told(reached=lambda progress: seen.append(progress.step))
    )
    assert seen == [4, 5, 6]  # step 4 was killed before it was saved
    for name, weights in whole.state_dict().items():
        assert_array_equal(weights, resumed.state_dict()[name], err_msg=name)


def test_a_checkpoint_of_another_run_is_not_continued(tmp_path: Path) -> None:
    train_noise_predictor(images(), TINY_CONFIG, PLAN, tmp_path)
    seen: list[int] = []
    said: list[str] = []
    other = replace(PLAN, seed=1)
    train_noise_predictor(
        images(),
        TINY_CONFIG,
        other,
        tmp_path,
        told=Told(reached=lambda progress: seen.append(progress.step), say=said.append),
    )
    assert seen[0] == 1
    assert [f"the checkpoint in {tmp_path}, of 6 steps, is of a training with other" in one for one in said] == [True]


def test_a_checkpoint_of_another_release_is_not_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its network may have other weights: an upgrade in the middle of a training ended in a trace."""
    monkeypatch.setattr(noise_training, "METHOD_VERSION", noise_training.METHOD_VERSION - 1)
    train_noise_predictor(images(), TINY_CONFIG, PLAN, tmp_path)
    monkeypatch.undo()
    said: list[str] = []
    train_noise_predictor(images(), TINY_CONFIG, PLAN, tmp_path, told=Told(say=said.append))
    assert ["threads (OMP_NUM_THREADS), or of another release" in one for one in said] == [True]


def test_nothing_is_said_of_a_checkpoint_that_is_not_there_or_goes_on(tmp_path: Path) -> None:
    said: list[str] = []
    for _ in range(2):
        train_noise_predictor(images(), TINY_CONFIG, PLAN, tmp_path, told=Told(say=said.append))
    assert said == []


def test_a_torn_checkpoint_is_a_fresh_start(tmp_path: Path) -> None:
    said: list[str] = []
    train_noise_predictor(images(), TINY_CONFIG, PLAN, tmp_path)
    (tmp_path / "state.json").write_text('{"step": 3')
    _, progress = train_noise_predictor(images(), TINY_CONFIG, PLAN, tmp_path, told=Told(say=said.append))
    assert progress.step == 6
    assert said == [f"note: the checkpoint in {tmp_path} cannot be read: training begins anew"]


def test_an_image_that_goes_once_it_has_been_learnt_costs_no_training(tmp_path: Path) -> None:
    """The bundle names it, and it was read again for that, at the very end: hours were lost, since without it the same
    command begins anew."""
    write_images(tmp_path / "data", normal_frames(40))
    first = tmp_path / "data" / "part0000.png"
    own = fingerprint(first)
    told = Told(reached=lambda _: first.unlink(missing_ok=True))
    info = train(tmp_path / "data", tmp_path / "out", "x", TINY_PLAN, torch.device("cpu"), told=told)
    assert not first.exists()
    assert own in info.training["fitted_on"]


def test_a_time_limit_ends_the_training() -> None:
    _, progress = train_noise_predictor(images(), TINY_CONFIG, replace(PLAN, steps=10**6, max_seconds=0.2))
    assert 0 < progress.step < 10**4


def test_the_loss_falls() -> None:
    losses: list[float] = []
    plan = NoisePlan(steps=60, batch=4, warmup_steps=5)
    train_noise_predictor(images(), TINY_CONFIG, plan, told=Told(reached=lambda progress: losses.append(progress.loss)))
    assert losses[-1] < 0.95 * losses[0]  # a running mean: it forgets the start slowly


def test_patches_are_of_the_asked_size_and_repeatable() -> None:
    first, again = (draw_patches(images(), TINY_CONFIG, 5, True, torch.Generator().manual_seed(3))[0] for _ in range(2))
    side = TINY_CONFIG.patch_px // TINY_CONFIG.scale
    assert first.shape == (5, 1, side, side)
    assert_array_equal(first, again)


def test_a_patch_knows_where_it_was_taken_and_how_it_was_mirrored() -> None:
    """The image is its own closeness to the borders, so patch and borders must agree."""
    config = RadarConfig.in_features(patch_px=32, channels=(8, 16))
    patches, borders = draw_patches([closeness(9, 12), closeness(6, 5)], config, 40, True, torch.Generator())
    swapped = borders[:, [1, 0, 3, 2]]
    for patch, border, mirrored in zip(patches, borders, swapped, strict=True):
        told = [torch.equal(patch[i], border[i]) or torch.equal(patch[i], mirrored[i]) for i in range(4)]
        assert all(told)
    assert not torch.equal(patches, borders)  # some were mirrored


@pytest.mark.parametrize("plan", [TINY_PLAN, TINY_CFLOW_PLAN])
def test_no_image_that_was_trained_on_is_beyond_the_quality_limits(tmp_path: Path, plan: Plan) -> None:
    """Of two lamps one may be in none of the images that set the threshold: 17 of 40 cells were NOT_DECIDABLE."""
    frames = normal_frames(40)
    frames[:16] = frames[:16] // 4
    write_images(tmp_path / "parts", frames)
    info = train(tmp_path / "parts", tmp_path / "out", "tiny", plan, torch.device("cpu"))
    assert not [number for number, frame in enumerate(frames) if doubts_of_pixels(frame, info.calibration.quality)]


def test_normals_of_several_sizes_train_one_model(tmp_path: Path) -> None:
    write_images(tmp_path / "data", normal_frames(20, 48, 56))
    write_images(tmp_path / "taller", normal_frames(20, 70, 40))
    for path in (tmp_path / "taller").iterdir():
        path.rename(tmp_path / "data" / path.name.replace("part", "part1"))
    info = train(tmp_path / "data", tmp_path / "out", "sizes", TINY_PLAN, torch.device("cpu"))
    assert info.input.min_side_px == TINY_CONFIG.patch_px


def test_every_loop_over_images_is_shown_from_its_start_to_its_end(
    bundles: dict[str, Path], counted: dict[str, list[int]]
) -> None:
    assert bundles
    assert {"encoding normals", "looking where damage shows", "setting the threshold"} <= set(counted)
    assert all(shown == known for shown, known in counted.values())


def test_a_bundle_tells_where_it_comes_from(bundles: dict[str, Path]) -> None:
    info = read_info(bundles["radar in pixels"])
    assert info.training["images"] == {"fit": 20, "forest": 6, "calibration": 11, "validation": 3}
    assert info.calibration.normals == 11
    assert (info.input.height_px, info.input.width_px, info.input.mode) == (48, 56, "gray")


def test_colour_frames_train_a_colour_model(tmp_path: Path) -> None:
    gray = normal_frames(24)
    write_images(tmp_path / "data", np.stack([gray, gray // 2, 255 - gray], axis=3))
    plan = replace(TINY_PLAN, false_alarm_rate=0.2)
    info = train(tmp_path / "data", tmp_path / "out", "colour", plan, torch.device("cpu"))
    assert info.input.mode == "rgb"


def test_one_gray_image_among_colour_ones_makes_no_colour_blind_model_and_is_told(tmp_path: Path) -> None:
    gray = normal_frames(12)
    write_images(tmp_path, np.stack([gray, gray // 2, 255 - gray], axis=3))
    Image.fromarray(gray[0]).save(tmp_path / "part0000.png")
    normals = read_normals(tmp_path, TINY_PLAN.shares, 0.3, 32)
    assert normals.mode == "rgb"
    assert "1 of 12 images is gray" in normals.notes[0]
    assert "part0000.png" in normals.notes[0]


@pytest.mark.parametrize(("bits", "brightest"), [(10, "3"), (12, "15"), (14, "63"), (16, None)])
def test_few_bits_in_16_bit_images_are_told(bits: int, brightest: str | None, tmp_path: Path) -> None:
    for number, frame in enumerate(normal_frames(12).astype(np.uint16)):
        frame[0, : number + 1] = 255  # lest a few levels make two of them alike
        Image.fromarray((frame * 257) >> (16 - bits)).save(tmp_path / f"{number}.png")
    notes = read_normals(tmp_path, TINY_PLAN.shares, 0.3, 32).notes
    told = [note for note in notes if f"the brightest level of all images is {brightest} of 255" in note]
    assert (len(told), len(notes)) == ((1, 1) if brightest else (0, 0))


@pytest.mark.parametrize("plan", [TINY_PLAN, TINY_CFLOW_PLAN])
def test_a_training_holds_a_few_of_its_images_at_a_time(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thousands of photos fill any memory: the system would end the training without a word."""
    write_images(tmp_path / "data", normal_frames(40))
    alive = most = 0

    def gone() -> None:
        nonlocal alive
        alive -= 1

    def watched(value: bytes, mode: Mode) -> NDArray[np.uint8]:
        nonlocal alive, most
        frame = decode(value, mode).copy()  # whose views keep itself alive
        weakref.finalize(frame, gone)
        alive += 1
        most = max(most, alive)
        return frame

    monkeypatch.setattr(data, "decode", watched)
    train(tmp_path / "data", tmp_path / "out", "x", plan, torch.device("cpu"))
    assert 0 < most <= 5


@pytest.mark.parametrize("plan", [TINY_PLAN, TINY_CFLOW_PLAN])
def test_what_memory_will_hardly_do_is_said_before_the_work_begins(
    plan: Plan, tmp_path: Path, normals_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []

    def work(_: object, doing: str = "training") -> Iterable[int]:
        raise Killed

    def until_encoding(numbers: range, doing: str) -> Iterable[int]:
        return work(numbers) if doing == "encoding normals" else numbers

    def notes_with(free: int) -> list[str]:
        monkeypatch.setattr(memory, "_free_bytes", lambda root: free)
        said.clear()
        told, device = Told(total=work, say=said.append, track=until_encoding), torch.device("cpu")
        with pytest.raises(Killed):
            train(normals_folder, tmp_path / "out", "x", plan, device, told=told)
        return [note for note in said if "memory" in note]

    assert (
        "images of up to 56 × 48 px take about 0.8 GB of memory here, and 0.5 GB may be used"
        in notes_with(500_000_000)[0]
    )
    assert not notes_with(1_000_000_000)


def test_what_may_be_used_is_no_more_than_the_container_may_take(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
    shapes = [(3000, 4000), (100, 100)]

    def told(kept: float = 0) -> list[str]:
        return list(memory.on_memory(shapes, 260, kept, tmp_path))

    assert not told()  # nobody says what is free
    (tmp_path / "proc/meminfo").write_text("MemTotal: 16000000 kB\nMemAvailable: 8000000 kB\n")
    assert not told()
    assert "4000 × 3000 px take about 9.9 GB of memory here, and 8.2 GB may be used" in told(6e9)[0]
    assert "train CFLOW, which takes 3.9 GB" in told(6e9)[0]
    (tmp_path / "sys/fs/cgroup/memory.max").write_text("max\n")
    assert not told()
    (tmp_path / "sys/fs/cgroup/memory.max").write_text("2000000000\n")
    assert "take about 3.9 GB of memory here, and 2.0 GB may be used" in told()[0]
    assert not [note for note in (*told(), *told(6e9)) if "CFLOW" in note]  # which would not find its memory either


def test_large_frames_kept_in_pixels_and_in_features_are_counted_as_far_as_they_are_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of 100 photos as few as 20 are kept, whatever they take."""
    monkeypatch.setattr(memory, "_free_bytes", lambda root: 0)

    def kept(images: int, config: RadarConfig, device: str = "cpu") -> str:
        looked = {Path(f"{number}"): Looked((3000, 4000), 255, Light(99, 1), "") for number in range(images)}
        frames = Frames(tuple(looked), "gray", looked)
        normals = SimpleNamespace(parts=SimpleNamespace(fit=frames, forest=frames), shapes=frames.shapes)
        (note,) = fit._on_memory(normals, config, 1, torch.device(device))
        return note

    assert "about 7.8 GB of memory here" in kept(20, RadarConfig.in_features())
    assert kept(100, RadarConfig.in_features()) == kept(20, RadarConfig.in_features())
    assert "about 4.6 GB" in kept(100, RadarConfig.in_wavelets())
    assert "about 9.0 GB of memory here" in kept(100, RadarConfig.in_pixels())
    assert "about 4.6 GB of memory here" in kept(100, RadarConfig.in_pixels(), "cuda")  # which has memory of its own


def test_an_image_that_changes_while_it_is_trained_on_is_named(tmp_path: Path) -> None:
    write_images(tmp_path, normal_frames(12))
    fit = read_normals(tmp_path, TINY_PLAN.shares, 0.3, 32).parts.fit
    write_images(tmp_path, normal_frames(12, 50, 50))
    with pytest.raises(DataError, match=r"part0000\.png: was changed while the training ran"):
        fit[0]


def test_too_few_normals_for_the_promise_are_refused_before_training(normals_folder: Path, tmp_path: Path) -> None:
    plan = replace(TINY_PLAN, false_alarm_rate=0.01)
    with pytest.raises(CalibrationError, match=r"of 40 normals 11 remain .* Give about 387 images"):
        train(normals_folder, tmp_path, "x", plan, torch.device("cpu"))


@pytest.mark.parametrize("images", [2, 3])
def test_cflow_refuses_fewer_images_than_it_asks_for(images: int, tmp_path: Path) -> None:
    write_images(tmp_path / "data", normal_frames(images))
    with pytest.raises(DataError, match="give at least 4"):
        train(tmp_path / "data", tmp_path, "x", replace(TINY_CFLOW_PLAN, false_alarm_rate=0.5), torch.device("cpu"))


def test_copies_of_an_image_count_once_and_promise_nothing(tmp_path: Path) -> None:
    write_images(tmp_path, normal_frames(12))
    for path in sorted(tmp_path.iterdir()):
        for number in range(1, 4):
            (tmp_path / f"{path.stem}-{number}.png").write_bytes(path.read_bytes())
    with pytest.raises(CalibrationError, match=r"of 12 normals 3 remain (.|\n)*36 images left out as copies of others"):
        train(tmp_path, tmp_path / "out", "tiny", TINY_PLAN, torch.device("cpu"))


def test_the_same_pixels_in_files_of_other_bytes_count_once(tmp_path: Path) -> None:
    write_images(tmp_path, normal_frames(40))
    for number in range(3):
        Image.open(tmp_path / "part0000.png").save(tmp_path / f"part{100 + number}.png", compress_level=number)
    normals = read_normals(tmp_path, Shares(), 0.1, 32)
    assert len(normals.shapes) == 40
    assert [note for note in normals.notes if "3 images left out as copies of others, pixel for pixel" in note]


def test_every_unusable_file_is_named(tmp_path: Path) -> None:
    write_images(tmp_path, normal_frames(3))
    (tmp_path / "broken.png").write_bytes(b"no image")
    (tmp_path / "z-empty.jpg").write_bytes(b"")
    with pytest.raises(DataError) as caught:
        look_at(find_layout(tmp_path).normals, "gray")
    assert "2 of 5 images" in str(caught.value)
    assert "broken.png: cannot be read" in str(caught.value)
    assert "z-empty.jpg: cannot be read (the record holds no bytes)" in str(caught.value)


def test_an_empty_or_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no images"):
        find_layout(tmp_path)
    with pytest.raises(DataError, match="there is no folder"):
        find_layout(tmp_path / "nowhere")


@pytest.mark.parametrize("kind", KINDS)
def test_a_synthetic_defect_changes_a_part_of_the_frame_and_says_which(kind: str) -> None:
    frame, donor = normal_frames(2, 100, 120)
    found = [with_defect(frame, donor, kind, np.random.default_rng(seed)) for seed in range(8)]
    changed, marked = np.mean([d.frame != frame for d in found]), np.mean([d.mask for d in found])
    assert 0 < changed < 0.9
    assert 0 < marked <= changed + 0.02
    inside = np.mean([np.abs(d.frame.astype(float) - frame)[d.mask].mean() for d in found if d.mask.any()])
    outside = np.mean([np.abs(d.frame.astype(float) - frame)[~d.mask].mean() for d in found])
    assert inside > 5 * outside


def test_synthetic_defects_repeat_themselves_and_take_turns() -> None:
    frames = list(normal_frames(4, 100, 120))
    first, again = (list(drawn_defects(frames, 2, seed=5)) for _ in range(2))
    assert [defect.kind for defect in first] == [*KINDS, next(iter(KINDS))]
    for one, other in zip(first, again, strict=True):
        assert_array_equal(one.frame, other.frame)


def test_of_large_frames_so_many_are_looked_at_as_fit_into_memory() -> None:
    frames = [np.full((80, 85), number, dtype=np.uint8) for number in range(100)]
    assert as_many_as_fit(frames, 8, 110 * 100) is frames
    few = as_many_as_fit(frames, 8, 110 * 25)
    assert [int(frame[0, 0]) for frame in few] == list(range(0, 100, 4))
    assert len(as_many_as_fit(frames, 8, 1)) == 20
    assert as_many_as_fit(frames[:3], 8, 1) == frames[:3]


def test_large_frames_in_pixels_are_held_once_and_as_many_as_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit, "_MOST_VALUES", 48 * 56 * 30)
    made: list[torch.Tensor] = []

    def noted(image: torch.Tensor, config: RadarConfig) -> torch.Tensor:
        made.append(normalise(image, config))
        return made[-1]

    monkeypatch.setattr(fit, "normalise", noted)
    _, kept = fit_gain(normal_frames(60), TINY_CONFIG, channels=1)
    assert [one.data_ptr() for one in kept] == [one.data_ptr() for one in made]
    assert len(kept) == 30
    assert len(fit_gain(normal_frames(60), TINY_CONFIG, channels=3)[1]) == 20  # the fewest
