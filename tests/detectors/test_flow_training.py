"""CFLOW's training: what it learns, what it refuses, that it can be killed, and that it repeats itself."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from detectors.conftest import TINY_CFLOW, TINY_CFLOW_PLAN, normal_frames, write_images
from numpy.testing import assert_array_equal
from numpy.typing import NDArray

from pipeline.detectors.bundle import load_bundle, read_info
from pipeline.detectors.cflow.detector import CflowScorer
from pipeline.detectors.cflow.features import Whitening
from pipeline.detectors.cflow.flow import ConditionalFlow
from pipeline.detectors.cflow.position import encode
from pipeline.detectors.encoder import Encoder, pretrained_encoder
from pipeline.detectors.registry import load_detector
from pipeline.errors import AndonError
from pipeline.frames import Mode
from pipeline.training import loop
from pipeline.training.cflow import flow_training
from pipeline.training.cflow.fit import fit_model, with_highest
from pipeline.training.cflow.flow_training import Fibres, FlowPlan, fit_reference, gather_fibres, train_flow
from pipeline.training.checkpoint import Progress
from pipeline.training.images import data
from pipeline.training.images.data import read_frame
from pipeline.training.images.layouts import find_layout
from pipeline.training.images.split import split_by_number
from pipeline.training.loop import half_cosine
from pipeline.training.threshold.calibrate import CalibrationError
from pipeline.training.told import Told
from pipeline.training.train import train

pytestmark = pytest.mark.unit

PLAN = FlowPlan(epochs=3, batch=32, checkpoint_every_s=0)
CPU = torch.device("cpu")
AS_THEY_ARE = Whitening(torch.zeros(6), torch.eye(6))


class Killed(Exception):
    pass


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return pretrained_encoder("tf_efficientnet_lite0", None, TINY_CFLOW.levels)


def fibres(count: int = 64, seed: int = 0) -> Fibres:
    """Spread wide on the left of the frame and narrow on its right: only a flow that heeds the place can tell."""
    generator = torch.Generator().manual_seed(seed)
    spots = torch.rand(count, 2, generator=generator) * 32
    spread = torch.where(spots[:, :1] < 16, 2.0, 0.1)
    return Fibres((torch.randn(count, 6, generator=generator) * spread).half(), spots, (spots[:, 0] >= 16).long())


def test_it_learns_that_normal_depends_on_the_place() -> None:
    config = TINY_CFLOW.model_copy(update={"condition": 32})
    plan = FlowPlan(epochs=16, batch=128, learning_rate=1e-2)
    flow, _ = train_flow(fibres(2048), fibres(512, seed=1), AS_THEY_ARE, config, plan)
    odd = torch.full((1, 6), 1.5)
    left, right = (flow.of_fibres(odd, encode(torch.tensor([[x, 16.0]]), 16).flatten(1)).item() for x in (4.0, 28.0))
    assert left > right + 1


def test_a_resumed_run_ends_as_the_uninterrupted_one(tmp_path: Path) -> None:
    def kill(progress: Progress) -> None:
        if progress.step == 5:
            raise Killed

    held_out = fibres(seed=1)
    whole, _ = train_flow(fibres(), held_out, AS_THEY_ARE, TINY_CFLOW, PLAN)
    with pytest.raises(Killed):
        train_flow(fibres(), held_out, AS_THEY_ARE, TINY_CFLOW, PLAN, tmp_path, told=Told(reached=kill))
    seen: list[int] = []
    resumed, _ = train_flow(
        fibres(),
        held_out,
        AS_THEY_ARE,
        TINY_CFLOW,
        PLAN,
        tmp_path,
        told=Told(reached=lambda progress: seen.append(progress.step)),
    )
    assert seen == [5, 6]  # step 5 was killed before it was saved
    for name, weights in whole.state_dict().items():
        assert_array_equal(weights, resumed.state_dict()[name], err_msg=name)


def test_a_checkpoint_of_another_run_is_not_continued(tmp_path: Path) -> None:
    train_flow(fibres(), None, AS_THEY_ARE, TINY_CFLOW, PLAN, tmp_path)
    seen: list[int] = []
    train_flow(
        fibres(),
        None,
        AS_THEY_ARE,
        TINY_CFLOW,
        replace(PLAN, seed=1),
        tmp_path,
        told=Told(reached=lambda p: seen.append(p.step)),
    )
    assert seen[0] == 1


def test_a_checkpoint_of_another_release_is_not_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow_training, "METHOD_VERSION", flow_training.METHOD_VERSION - 1)
    train_flow(fibres(), None, AS_THEY_ARE, TINY_CFLOW, PLAN, tmp_path)
    monkeypatch.undo()
    said: list[str] = []
    train_flow(fibres(), None, AS_THEY_ARE, TINY_CFLOW, PLAN, tmp_path, told=Told(say=said.append))
    assert ["of another release" in one for one in said] == [True]


def test_a_checkpoint_is_not_continued_with_other_normals_held_out(tmp_path: Path) -> None:
    """They decide which weights stay: those that others found best are none of this run's."""
    train_flow(fibres(), fibres(seed=1), AS_THEY_ARE, TINY_CFLOW, PLAN, tmp_path)
    whole, _ = train_flow(fibres(), fibres(seed=2), AS_THEY_ARE, TINY_CFLOW, PLAN)
    steps: list[int] = []
    again, _ = train_flow(
        fibres(),
        fibres(seed=2),
        AS_THEY_ARE,
        TINY_CFLOW,
        PLAN,
        tmp_path,
        told=Told(reached=lambda p: steps.append(p.step)),
    )
    assert steps[:1] == [1]
    for name, weights in whole.state_dict().items():
        assert_array_equal(weights, again.state_dict()[name], err_msg=name)


def test_training_ends_when_held_out_normals_get_no_likelier() -> None:
    """They are of another kind than the taught ones, so learning makes them less likely from the first epoch on."""
    other = Fibres(torch.full((64, 6), 9.0).half(), torch.rand(64, 2) * 32, torch.zeros(64, dtype=torch.long))
    plan = replace(PLAN, epochs=50, patience=2, learning_rate=1e-2)
    flow, progress = train_flow(fibres(), other, AS_THEY_ARE, TINY_CFLOW, plan)
    assert progress.step < 100
    assert all(parameter.isfinite().all() for parameter in flow.parameters())


def test_the_reference_knows_that_normals_differ_by_place() -> None:
    taught = fibres(4096)
    gaussian = ConditionalFlow(6, TINY_CFLOW.condition, blocks=1, clamp=1.9)
    found = fit_reference(gaussian, [taught], AS_THEY_ARE, TINY_CFLOW)
    assert found.mean[1] > found.mean[0] + 1  # narrow fibres on the right
    assert found.deviation[1] < found.deviation[0] / 2
    assert found.mean[2:].allclose(found.mean[2])  # places that nobody showed: as all others on average


def test_a_time_limit_ends_the_training_and_its_rate_has_fallen_by_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """It fell by steps, and a training of --minutes ended amid the first of them, at its full rate."""
    shares: list[float] = []

    def noted(done: float) -> float:
        shares.append(done)
        return half_cosine(done)

    monkeypatch.setattr(flow_training, "half_cosine", noted)
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=iter(range(1000)).__next__))
    plan = replace(PLAN, epochs=10**6, max_seconds=40)
    _, progress = train_flow(fibres(), None, AS_THEY_ARE, TINY_CFLOW, plan)
    assert 10 < progress.step < 40
    assert shares[0] == 0
    assert 0.9 < shares[-1] < 1


def test_memory_does_not_grow_with_the_images(encoder: Encoder) -> None:
    plan = FlowPlan(fibres_per_level=60)
    few, many = (gather_fibres(encoder, list(normal_frames(n)), "gray", TINY_CFLOW, plan) for n in (3, 12))
    assert [len(level) for level in few] == [len(level) for level in many]
    assert all(len(level) <= 60 for level in many)


def test_turned_images_are_shown_beside_the_straight_ones(encoder: Encoder) -> None:
    plain, turned = (
        gather_fibres(encoder, list(normal_frames(2)), "gray", TINY_CFLOW, FlowPlan(rotations=n)) for n in (0, 2)
    )
    assert [len(level) * 3 for level in plain] == [len(level) for level in turned]


def test_one_image_is_enough_for_the_flows(encoder: Encoder) -> None:
    """Fewer fibres than a batch: the official code divides by zero."""
    frames = list(normal_frames(1))
    plan = replace(TINY_CFLOW_PLAN, flow=FlowPlan(epochs=2))
    model, _ = fit_model(encoder, frames, [], "gray", plan, CPU)
    found = CflowScorer(with_highest(model, frames)).measure(normal_frames(3, seed=1))
    assert np.isfinite(found.scores).all()


@pytest.mark.parametrize(("merge", "looks"), [("place", 2), ("likelihood", 3)])
def test_level_maxima_take_a_look_at_the_normals_only_where_the_map_reads_them(
    merge: str, looks: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first look is at size and light, the last one sets the threshold."""
    write_images(tmp_path / "data", normal_frames(40))
    apart = split_by_number(find_layout(tmp_path / "data").normals, TINY_CFLOW_PLAN.shares).calibration
    seen: Counter[Path] = Counter()

    def counted(path: Path, mode: Mode) -> NDArray[np.uint8]:
        seen[path] += 1
        return read_frame(path, mode)

    monkeypatch.setattr(data, "read_frame", counted)
    plan = replace(TINY_CFLOW_PLAN, config=TINY_CFLOW.model_copy(update={"merge": merge}))
    train(tmp_path / "data", tmp_path / "out", "x", plan, CPU)
    assert {seen[path] for path in apart} == {looks}
    load_detector(tmp_path / "out", "cpu").predict(normal_frames(2, seed=1))


def test_one_image_is_too_few_for_a_threshold(tmp_path: Path) -> None:
    write_images(tmp_path / "data", normal_frames(1))
    with pytest.raises(CalibrationError, match="of 1 normal 0 remain for the threshold"):
        train(tmp_path / "data", tmp_path / "out", "x", TINY_CFLOW_PLAN, CPU)


def test_a_bundle_tells_where_it_comes_from(bundles: dict[str, Path]) -> None:
    info, _ = load_bundle(bundles["cflow"])
    assert info.training["images"] == {"fit": 24, "calibration": 12, "validation": 4}
    assert info.calibration.normals == 12


def test_a_bundle_is_stored_in_half_precision(bundles: dict[str, Path]) -> None:
    _, tensors = load_bundle(bundles["cflow"])
    assert {tensors[name].dtype for name in tensors if name.endswith("weight")} == {np.dtype(np.float16)}


def test_the_threshold_is_of_the_model_in_the_bundle(bundles: dict[str, Path], normals_folder: Path) -> None:
    """The calibration normals, scored by the loaded bundle, give the very threshold."""
    info = read_info(bundles["cflow"])
    split = split_by_number(find_layout(normals_folder).normals, TINY_CFLOW_PLAN.shares)
    apart = np.stack([read_frame(path, "gray") for path in split.calibration])
    scores = load_detector(bundles["cflow"], "cpu").predict(apart).scores
    assert np.nextafter(info.calibration.threshold, -np.inf) in scores


def test_frames_of_several_sizes_and_colours_train_a_model(tmp_path: Path) -> None:
    for size, count in ((48, 12), (56, 12)):
        gray = normal_frames(count, size, 60, seed=size)
        write_images(tmp_path / f"data{size}", np.stack([gray, gray // 2, 255 - gray], axis=3))
    (tmp_path / "data").mkdir()
    for path in sorted(tmp_path.glob("data*/*.png")):
        path.rename(tmp_path / "data" / f"{path.stem}-{path.parent.name}.png")
    plan = replace(TINY_CFLOW_PLAN, false_alarm_rate=0.2)
    info = train(tmp_path / "data", tmp_path / "out", "colour", plan, CPU)
    assert (info.input.mode, info.input.min_side_px) == ("rgb", 32)


def test_an_unknown_encoder_is_refused_with_known_ones(normals_folder: Path, tmp_path: Path) -> None:
    plan = replace(TINY_CFLOW_PLAN, config=TINY_CFLOW.model_copy(update={"encoder": "resnet_nothing"}))
    with pytest.raises(AndonError, match="knows no encoder 'resnet_nothing'"):
        train(normals_folder, tmp_path, "x", plan, CPU)


def test_weights_of_another_encoder_are_refused(normals_folder: Path, tmp_path: Path) -> None:
    torch.save({"conv.weight": torch.zeros(3, 3)}, tmp_path / "other.pth")
    plan = replace(TINY_CFLOW_PLAN, encoder_weights=tmp_path / "other.pth")
    with pytest.raises(AndonError, match="not of tf_efficientnet_lite0"):
        train(normals_folder, tmp_path / "out", "x", plan, CPU)


def test_progress_counts_up_to_the_announced_steps(normals_folder: Path, tmp_path: Path) -> None:
    announced: list[int] = []
    seen: list[int] = []
    info = train(
        normals_folder,
        tmp_path / "out",
        "x",
        replace(TINY_CFLOW_PLAN, flow=replace(TINY_CFLOW_PLAN.flow, patience=99)),
        CPU,
        told=Told(total=announced.append, reached=lambda progress: seen.append(progress.step)),
    )
    assert seen == list(range(1, announced[0] + 1))
    assert json.loads((tmp_path / "out" / "bundle.json").read_text())["training"]["steps"] == info.training["steps"]
