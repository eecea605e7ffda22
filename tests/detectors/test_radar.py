"""RADAR's own parts."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from detectors.conftest import TINY_CONFIG, normal_frames
from numpy.testing import assert_allclose, assert_array_equal
from pydantic import ValidationError

from pipeline.detectors.bundle import BundleError, load_bundle, save_bundle
from pipeline.detectors.images import to_images
from pipeline.detectors.radar.anomaly_map import sobel_magnitude
from pipeline.detectors.radar.config import RadarConfig
from pipeline.detectors.radar.features import peak, round_significant
from pipeline.detectors.radar.network import NoisePredictor, as_channels_last, cumulative_alphas
from pipeline.detectors.radar.preprocess import box_mean, normalise, pad_to_stride
from pipeline.detectors.registry import load_detector

pytestmark = pytest.mark.unit


def test_a_frame_below_the_patch_is_refused(bundles: dict[str, Path]) -> None:
    with pytest.raises(ValueError, match="below the 32 px patches"):
        load_detector(bundles["radar in pixels"], "cpu").predict(normal_frames(1, 31, 64))


@pytest.mark.parametrize(
    "batch", [np.zeros((4, 4), np.uint8), np.zeros((1, 40, 40), np.float32), np.zeros((1, 40, 40, 4), np.uint8)]
)
def test_other_arrays_are_refused(bundles: dict[str, Path], batch: np.ndarray) -> None:
    with pytest.raises(ValueError, match="frames must be"):
        load_detector(bundles["radar in pixels"], "cpu").predict(batch)


def test_another_version_is_refused(bundles: dict[str, Path], tmp_path: Path) -> None:
    info, tensors = load_bundle(bundles["radar in pixels"])
    save_bundle(tmp_path, info.model_copy(update={"method_version": 999}), tensors)
    with pytest.raises(BundleError, match="version 999"):
        load_detector(tmp_path, "cpu")


def test_missing_tensors_are_refused(bundles: dict[str, Path], tmp_path: Path) -> None:
    info, tensors = load_bundle(bundles["radar in pixels"])
    save_bundle(tmp_path, info, {name: tensor for name, tensor in tensors.items() if not name.startswith("forest.")})
    with pytest.raises(BundleError, match="whole radar model"):
        load_detector(tmp_path, "cpu")


def test_inference_needs_no_scikit_learn(bundles: dict[str, Path]) -> None:
    """Diffusers looks for scikit-learn's version but must not need the module."""
    script = f"""
import sys
sys.modules["sklearn"] = None
import numpy as np
from pathlib import Path
from pipeline.detectors.registry import load_detector
load_detector(Path({str(bundles["radar in pixels"])!r}), "cpu").predict(np.zeros((1, 48, 56), np.uint8))
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def test_every_parameter_learns() -> None:
    network = NoisePredictor(TINY_CONFIG, image_channels=3)
    predicted = network(torch.randn(2, 3, 32, 32), torch.tensor([1, 7]))
    assert predicted.shape == (2, 3, 32, 32)
    predicted.square().mean().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


@pytest.mark.parametrize("channels", [1, 3])
def test_channels_last_survives_the_first_layer(channels: int) -> None:
    images = as_channels_last(torch.randn(1, channels, 16, 16))
    convolution = torch.nn.Conv2d(channels, 8, 3, padding=1).to(memory_format=torch.channels_last)
    assert convolution(images).is_contiguous(memory_format=torch.channels_last)


def test_schedule_falls_from_signal_to_noise() -> None:
    alphas = cumulative_alphas(RadarConfig())
    assert (alphas.diff() < 0).all()
    assert alphas[0] > 0.999
    assert alphas[-1] < 0.01


def test_exposure_cancels_out() -> None:
    """Relative contrast: twice the light, nearly the same image. The rest is the guard against dark regions."""
    config = RadarConfig()
    dim = to_images(normal_frames(1, 160, 160) // 2, 1)
    assert_allclose(normalise(dim, config), normalise(dim * 2, config), atol=0.05)


def test_box_mean_is_the_mean_of_the_window() -> None:
    image = torch.randn(1, 1, 9, 11)
    assert_allclose(box_mean(image, 5)[0, 0, 4, 5], image[0, 0, 2:7, 3:8].mean(), rtol=1e-5)
    assert_allclose(box_mean(image, 5)[0, 0, 0, 0], image[0, 0, :3, :3].mean(), rtol=1e-5)


def test_padding_repeats_the_border() -> None:
    padded = pad_to_stride(torch.arange(6.0).reshape(1, 1, 2, 3), 4)
    assert padded.shape == (1, 1, 4, 4)
    assert_array_equal(padded[0, 0, 3], [3, 4, 5, 5])


def test_sobel_of_a_slope_is_its_steepness_and_of_a_flat_image_nothing() -> None:
    slope = torch.arange(8.0).repeat(8, 1)[None, None]
    assert_allclose(sobel_magnitude(3 * slope)[0, 1:-1, 1:-1], 3.0, rtol=1e-6)
    assert_array_equal(sobel_magnitude(torch.ones(1, 1, 8, 8)), np.zeros((1, 8, 8)))


def test_contrast_is_blind_to_the_level_of_the_map_and_sees_a_peak() -> None:
    even = torch.rand(1, 40, 40) + 1
    peaked = even.clone()
    peaked[0, 5, 5:9] = 20
    assert_allclose(peak(even * 7, 0.003, True), peak(even, 0.003, True), rtol=1e-4)
    assert_allclose(peak(even * 7, 0.003, False), 7 * peak(even, 0.003, False), rtol=1e-4)
    assert peak(peaked, 0.003, True) > 5 * peak(even, 0.003, True)


@pytest.mark.parametrize(
    ("value", "rounded"), [(0.0, 0.0), (123456.0, 123460.0), (-0.000123456, -0.00012346), (9.99999, 10.0)]
)
def test_rounding_keeps_significant_digits(value: float, rounded: float) -> None:
    assert_allclose(round_significant(np.array([value]), 5), [rounded], rtol=1e-12)


@pytest.mark.parametrize(
    "change", [{"timestep": 1000}, {"patch_px": 100}, {"blur_px": 4}, {"channels": (9, 16)}, {"typo": 1}]
)
def test_a_senseless_configuration_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        RadarConfig.model_validate(change)
