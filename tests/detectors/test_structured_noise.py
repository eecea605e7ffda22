"""Structured noise: what is drawn onto normals, and what the network is taught from it."""

import numpy as np
import pytest
import torch
from detectors.conftest import TINY_FEATURES, TINY_PIXELS, normal_frames
from numpy.testing import assert_array_equal

from pipeline.detectors.radar.front import PixelFront
from pipeline.detectors.radar.network import NoiseCode, NoisePredictor, predict
from pipeline.training.corruption import corrupt
from pipeline.training.lessons import Lessons, prepare_lessons
from pipeline.training.noise_training import NoisePlan, train_noise_predictor

pytestmark = pytest.mark.unit
CPU = torch.device("cpu")
GRAY = normal_frames(6, 64, 80)
RGB = np.repeat(GRAY[..., None], 3, axis=3)


@pytest.mark.parametrize("frames", [GRAY, RGB], ids=["gray", "rgb"])
def test_what_is_marked_was_changed_and_nothing_else_was(frames: np.ndarray) -> None:
    marked = 0
    for seed in range(40):
        made = corrupt(frames[0], frames[1], np.random.default_rng(seed), 3)
        assert made.frame.shape == frames[0].shape
        assert made.strength.shape == frames.shape[1:3]
        assert 0 <= made.strength.min() <= made.strength.max() <= 1
        changed = made.frame != frames[0]
        changed = changed.any(axis=2) if frames.ndim == 4 else changed
        # A mark is blurred by a pixel or so; beyond it no pixel of the normal may differ.
        assert not changed[made.strength == 0].any()
        marked += bool((made.strength > 0.5).any())
    assert marked > 30  # some are too faint to count, most are not


def test_the_same_seed_draws_the_same() -> None:
    first, again, other = (corrupt(GRAY[0], GRAY[1], np.random.default_rng(seed), 4) for seed in (5, 5, 6))
    assert_array_equal(first.frame, again.frame)
    assert (first.frame != other.frame).any()


def lessons(most_patches: int = 40, frames: np.ndarray = GRAY) -> Lessons:
    plan = NoisePlan(copies=2, most_patches=most_patches)
    return prepare_lessons(
        PixelFront(TINY_PIXELS, 1), list(frames), TINY_PIXELS, 0, plan.copies, plan.most_patches, CPU
    )


def test_memory_is_bounded_by_patches_not_by_images() -> None:
    for frames in (GRAY, normal_frames(20, 64, 80)):
        assert 0 < len(lessons(40, frames)) <= 40


def test_where_nothing_was_drawn_there_is_no_noise_to_find() -> None:
    found = lessons()
    noise = (found.seen - found.clean).abs().amax(dim=1)
    assert (noise > 0.1).any()
    # A pixel's local mean reaches half the contrast window beyond what was drawn.
    untouched = found.weight.eq(1).flatten(1).all(dim=1)
    drawn = ~untouched
    assert noise[drawn].mean() > 3 * noise[untouched].mean() if untouched.any() else drawn.all()


def test_the_network_learns_to_take_structured_noise_away() -> None:
    plan = NoisePlan(steps=80, batch=8, warmup_steps=5, ema_decay=0.9)
    taught = lessons(120)
    network, _ = train_noise_predictor(taught, TINY_PIXELS, plan)

    def error(one: NoisePredictor) -> float:
        noise = taught.seen.float() - taught.clean.float()
        bounded = noise / (1 + noise.square().mean(dim=1, keepdim=True)).sqrt()
        with torch.inference_mode():
            said = one(taught.seen.float(), torch.zeros(len(taught), dtype=torch.long), taught.borders)
        return float((said - bounded).square().mean())

    assert error(network) < 0.9 * error(NoisePredictor(TINY_PIXELS, 1).eval())


@pytest.mark.parametrize("config", [TINY_PIXELS, TINY_FEATURES], ids=["pixels", "features"])
def test_the_noise_is_linear_in_its_code(config) -> None:  # type: ignore[no-untyped-def]
    torch.manual_seed(0)
    network = NoisePredictor(config, 2).eval()
    torch.nn.init.normal_(network.leave.weight)
    frame = torch.randn(1, 2, 41, 50)
    with torch.inference_mode():
        code = predict(NoiseCode(network), frame, torch.tensor([3]), config)
        noise = predict(network, frame, torch.tensor([3]), config)
        written = network.leave(code)
    if config.fold > 1:
        written = torch.nn.functional.pixel_shuffle(written, config.fold)
    assert torch.allclose(written[..., :41, :50], noise, atol=1e-5)
