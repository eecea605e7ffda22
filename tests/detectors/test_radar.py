"""RADAR's own parts."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from detectors.conftest import TINY_CONFIG, TINY_FEATURES, normal_frames
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
from pydantic import ValidationError
from typer import Exit

from pipeline.detectors.bundle import BundleError, load_bundle, save_bundle
from pipeline.detectors.encoder import Encoder
from pipeline.detectors.images import to_images
from pipeline.detectors.radar.anomaly_map import over_frame, over_normal, pooled, sobel_magnitude, usual_norms
from pipeline.detectors.radar.border import closeness, places, rings
from pipeline.detectors.radar.config import RadarConfig
from pipeline.detectors.radar.features import loud_norm, measure, peak
from pipeline.detectors.radar.front import raw_features
from pipeline.detectors.radar.grid import joined
from pipeline.detectors.radar.network import (
    NoisePredictor,
    as_channels_last,
    cumulative_alphas,
    predict,
)
from pipeline.detectors.radar.preprocess import box_mean, even_exposure, normalise, pad_to_stride
from pipeline.detectors.radar.projection import whiten
from pipeline.detectors.registry import load_detector
from pipeline.detectors.rounding import round_significant, same_to_rounding
from pipeline.training.radar.whitening import fit_whitening
from workers.commands.bundle import check

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


def test_colour_becomes_gray_as_pillow_makes_it() -> None:
    colours = np.random.default_rng(0).integers(0, 256, (1, 300, 300, 3), np.uint8)
    assert_array_equal(to_images(colours, 1)[0, 0], Image.fromarray(colours[0]).convert("L"))


def test_another_version_is_refused(
    bundles: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A check with the new release called bundles whole that each of its replicas was to refuse."""
    info, tensors = load_bundle(bundles["radar in pixels"])
    save_bundle(tmp_path, info.model_copy(update={"method_version": 999}), tensors)
    with pytest.raises(BundleError, match="version 999"):
        load_detector(tmp_path, "cpu")
    with pytest.raises(Exit):
        check(tmp_path)
    assert "version 999" in capsys.readouterr().out


def test_missing_tensors_are_refused(bundles: dict[str, Path], tmp_path: Path) -> None:
    info, tensors = load_bundle(bundles["radar in pixels"])
    save_bundle(tmp_path, info, {name: tensor for name, tensor in tensors.items() if not name.startswith("forest.")})
    with pytest.raises(BundleError, match="whole radar model"):
        load_detector(tmp_path, "cpu")


def test_every_parameter_learns() -> None:
    network = NoisePredictor(TINY_CONFIG, image_channels=3)
    with torch.no_grad():  # layers that start at zero let nothing through to those before them
        for parameter in network.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    predicted = network(torch.randn(2, 3, 32, 32), torch.tensor([1, 7]), torch.rand(2, 4, 32, 32))
    assert predicted.shape == (2, 3, 32, 32)
    predicted.square().mean().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in network.parameters())


def test_untrained_it_is_the_best_linear_guess() -> None:
    """For white data E[ε | x_t] = √(1 − ᾱ_t)·x_t: the norm of it is the Mahalanobis distance of whitened features."""
    network = NoisePredictor(TINY_CONFIG, image_channels=1)
    noisy = torch.randn(1, 1, 40, 48)
    expected = (1 - cumulative_alphas(TINY_CONFIG)[50]).sqrt() * noisy
    with torch.inference_mode():
        assert_allclose(predict(network, noisy, torch.tensor([50]), TINY_CONFIG), expected, atol=1e-6)


def test_attention_gathered_for_a_gpu_is_the_attention_of_a_cpu() -> None:
    attention: Any = shaken(TINY_CONFIG, 1).bottom[1]
    heads, channels = len(attention.offsets), TINY_CONFIG.channels[-1]
    query = torch.randn(2, heads, channels // heads, 9, 12)
    keys, values = torch.randn(2, 2, channels, 15, 18)
    gathered, expected = (way(query, keys, values).detach() for way in (attention.by_windows, attention.by_offsets))
    assert_allclose(gathered, expected, atol=1e-5)


def shaken(config: RadarConfig, channels: int) -> NoisePredictor:
    """A network whose every layer does something."""
    torch.manual_seed(3)
    network = NoisePredictor(config, channels)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return network.eval()


def reach_cells(config: RadarConfig) -> int:
    """How far, in positions, an input can change an output: blocks of two 3 × 3 convolutions and the attention."""
    levels, window = len(config.channels), 7
    blocks = sum((4 << level) for level in range(levels - 1))
    bottom = (1 << (levels - 1)) * (4 + window // 2)
    return config.fold * (blocks + bottom + (1 << levels))


@pytest.mark.parametrize("config", [TINY_CONFIG, TINY_FEATURES], ids=["pixels", "features"])
def test_overlapping_tiles_merge_to_the_whole_frame(config: RadarConfig) -> None:
    """No seams: what a tile says is what the whole frame says there, once the overlap covers the network's reach."""
    network, reach = shaken(config, 2), -(-reach_cells(config) // config.stride_px) * config.stride_px
    side = 4 * config.stride_px
    height, width = reach + 3 * side, 2 * reach + side
    frame, borders = torch.randn(1, 2, height, width), closeness(height, width, config.ring_cells)[None]
    timesteps = torch.tensor([50])
    merged = torch.empty_like(frame)
    with torch.inference_mode():
        whole = network(frame, timesteps, borders)
        for top in range(0, height, side):
            for left in range(0, width, side):
                y0, x0 = max(0, top - reach), max(0, left - reach)
                tile = (slice(None), slice(None), slice(y0, top + side + reach), slice(x0, left + side + reach))
                said = network(frame[tile], timesteps, borders[tile])
                part = said[..., top - y0 : top - y0 + side, left - x0 : left - x0 + side]
                merged[..., top : top + side, left : left + side] = part
    assert_allclose(merged, whole, rtol=1e-4, atol=1e-4)


def test_rings_and_places_by_hand() -> None:
    assert rings(4, 5, 2).tolist() == [[0] * 5, [0, 1, 1, 1, 0], [0, 1, 1, 1, 0], [0] * 5]
    assert places(3, 3, 2).tolist() == [[0, 1, 0], [2, 3, 2], [0, 1, 0]]
    assert rings(16, 16, 3, ring_cells=4).unique().tolist() == [0, 1]
    assert rings(9, 3, 2)[:, 1].tolist() == [0, 1, 1, 1, 1, 1, 1, 1, 0]
    assert rings(9, 9, 2)[4].tolist() == [0, 1, 1, 1, 1, 1, 1, 1, 0]  # all that is further inside is one ring
    close = closeness(5, 7)
    assert close[:, 0, 6].tolist() == pytest.approx([1, np.exp(-2), np.exp(-3), 1])


def test_every_ring_of_normals_comes_out_white() -> None:
    """Rings of another level and spread than the inside, as encoders make them at borders."""
    generator = torch.Generator().manual_seed(0)
    config = RadarConfig.in_features(rings=3, loud_share=0)
    mixing = torch.randn(4, 4, generator=generator)
    ring = rings(20, 24, 3)
    normals = [
        torch.einsum("dc,chw->dhw", mixing, torch.randn(4, 20, 24, generator=generator)) * (3 - ring) + 5 * ring
        for _ in range(60)
    ]
    mean, whitening = fit_whitening(normals, config)
    white = torch.stack([whiten(one[None], mean, whitening, config)[0] for one in normals])
    for index in range(3):
        fibres = white[:, :, ring == index].permute(1, 0, 2).flatten(1)
        assert_allclose(fibres.mean(dim=1), np.zeros(4), atol=0.02)
        assert fibres.square().mean() == pytest.approx(0.85, abs=0.15)  # the floor under the variances takes some


@pytest.mark.parametrize(("frames", "own"), [(1, 0.1), (100, 0.9)])
def test_a_ring_of_few_fibres_leans_on_all(frames: int, own: float) -> None:
    """Border ±1, inside ±3, so the variance within rings is 3. At most 90 % are of the whole, and at least 10 %."""
    border, inside = torch.tensor([1.0, -1.0]), torch.tensor([3.0, -3.0])
    frame = border.repeat(8).view(1, 4, 4)
    frame[0, 1:3, 1:3] = inside
    _, whitening = fit_whitening([frame] * frames, RadarConfig.in_features(rings=2, loud_share=0))
    covariance = torch.tensor([own * 1 + (1 - own) * 3, own * 9 + (1 - own) * 3])
    assert_allclose(whitening.flatten(), (1.1 * covariance) ** -0.5, rtol=1e-5)  # and 10 % of each against noise


def _loudness(fibre: list[float], normals: list[torch.Tensor], loud_share: float) -> float:
    """Of a fibre in the middle of a frame."""
    config = RadarConfig.in_features(rings=1, loud_share=loud_share)
    frame = torch.tensor(fibre)[None, :, None, None].expand(-1, -1, 3, 3)
    return float(whiten(frame, *fit_whitening(normals, config), config)[0, :, 1, 1].norm())


def test_a_mark_as_good_parts_have_it_weighs_less_than_one_of_another_kind() -> None:
    generator = torch.Generator().manual_seed(0)
    normals = [torch.randn(4, 20, 20, generator=generator) for _ in range(10)]
    for normal in normals:
        marked = torch.rand(20, 20, generator=generator) < 0.05
        normal[0] += 6 * marked

    def known_over_foreign(loud_share: float) -> float:
        return _loudness([6.0, 0, 0, 0], normals, loud_share) / _loudness([0, 6.0, 0, 0], normals, loud_share)

    assert known_over_foreign(0) > 0.5  # marks are few, and one covariance of all fibres hardly knows them
    assert known_over_foreign(0.05) < 0.4


def test_normals_that_are_all_alike_can_be_whitened() -> None:
    config = RadarConfig.in_features(rings=2)
    normals = [torch.ones(4, 8, 8)] * 2
    mean, whitening = fit_whitening(normals, config)
    white = whiten(normals[0][None], mean, whitening.half().float(), config)
    assert white.isfinite().all()
    assert white.abs().max() < 1


def test_a_border_that_is_always_loud_is_usual() -> None:
    config = RadarConfig.in_features(rings=2)
    norms = [torch.ones(6, 8) for _ in range(20)]
    for norm in norms:
        norm[:, 0] = 7
    usual = usual_norms(norms, config)
    even = over_normal(norms[0][None, None], usual, config)
    assert even[0, 0, :, 1:7].max() == 1  # the left and the right border are one place, and the right one is quiet
    assert even[0, 0, 2:4, 0].max() == 1
    for norm in norms:
        norm[:, 1:7] = 0
    quiet = usual_norms([norm[2:4] for norm in norms], config)  # where nothing was seen, or is silent: of the whole
    assert quiet[quiet != 7].numel() == 0


def test_levels_meet_on_one_grid_at_every_size() -> None:
    """A gradient along x has the same value at the same pixel in every level."""
    for width in (64, 71, 80):
        position = torch.arange(width + 64, dtype=torch.float32)
        levels = []
        for stride in (4, 8, 16):
            cells = -(-width // stride)
            level = position.unfold(0, stride, stride).mean(dim=1)[:cells]
            levels.append(level.expand(1, 1, cells, cells).contiguous())
        cells = -(-width // 8)
        grid = joined(levels, (4, 8, 16), 8, cells, cells)
        inside = grid[0, :, cells // 2, 2 : cells - 3]
        assert_allclose(inside[0], inside[1], rtol=1e-5)
        assert_allclose(inside[2], inside[1], rtol=1e-5)


def test_all_but_the_coarsest_level_know_their_surroundings() -> None:
    fine, coarse = torch.zeros(1, 1, 2, 3), torch.tensor([[[[5.0, 9.0]]]])
    fine[0, 0, 0, 0] = 12
    grid = joined([fine, coarse], (8, 16), 8, 2, 3)
    assert_allclose(grid, [[[[3, 2, 0], [3, 2, 0]], [[5, 6, 8], [5, 6, 8]]]])


def test_every_view_of_a_frame_shows_a_mark_at_its_place() -> None:
    """At native size, at half, at a quarter and at an eighth, joined on cells of 8 px."""
    config = RadarConfig.in_wavelets()
    plain = np.full((1, 256, 320), 100, np.uint8)
    marked = plain.copy()
    marked[0, 160:176, 240:256] = 250
    seen = [raw_features(Encoder(config.encoder), frame, 1, config, torch.device("cpu")) for frame in (plain, marked)]
    for view in (seen[1] - seen[0])[0].chunk(len(config.shrinks)):
        weight = view.square().sum(dim=0)
        down, across = (weight.sum(dim=other) / weight.sum() for other in (1, 0))
        assert down @ torch.arange(32.0) == pytest.approx(20.5, abs=1)
        assert across @ torch.arange(40.0) == pytest.approx(30.5, abs=1)


def test_every_frame_is_brought_to_its_own_exposure() -> None:
    frames = torch.stack([torch.full((1, 4, 4), level) for level in (51.0, 216.0)])
    assert_allclose(even_exposure(frames).mean(dim=(1, 2, 3)), [51 * 110 / 55, 216 * 110 / 220])


def test_without_a_window_levels_are_from_mid_gray_at_the_working_resolution() -> None:
    image = torch.tensor([[0.0, 255.0, 255.0], [255.0, 0.0, 255.0]])[None, None]
    config = RadarConfig.in_pixels(contrast_px=0, scale=2, gain=3)
    assert_allclose(normalise(image, config), [[[[0, 3]]]])


def test_twice_the_light_is_the_same_image() -> None:
    dim = to_images(normal_frames(1, 64, 64) // 2, 1)
    assert_allclose(even_exposure(dim), even_exposure(dim * 2), rtol=0.06)


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


@pytest.mark.parametrize("schedule", ["linear", "scaled_linear", "squaredcos_cap_v2"])
def test_schedules_are_those_of_diffusers_to_the_bit(schedule: str) -> None:
    from diffusers import DDPMScheduler

    config = RadarConfig.model_validate({"beta_schedule": schedule})
    theirs = DDPMScheduler(num_train_timesteps=config.train_timesteps, beta_schedule=schedule).alphas_cumprod
    assert torch.equal(cumulative_alphas(config), theirs)


def test_scoring_waits_neither_for_timm_nor_for_diffusers_nor_for_scikit_learn(bundles: dict[str, Path]) -> None:
    """They take seconds of every replica's start, and more than the rest of a bundle."""
    code = f"""
import sys
import numpy as np
from pathlib import Path
from pipeline.replica.recipes import SHIPPED_BUNDLES
from pipeline.detectors.registry import load_detector
load_detector(Path({str(bundles["radar in pixels"])!r}), "cpu").predict(np.zeros((1, 48, 56), np.uint8))
load_detector(SHIPPED_BUNDLES / "elpv-mono-radar", "cpu").predict(np.zeros((1, 300, 300), np.uint8))
print(*{{"timm", "torchvision", "diffusers", "sklearn", "scipy", "torch._dynamo"}} & set(sys.modules))
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert run.stdout.split() == []


def test_exposure_cancels_out() -> None:
    """Relative contrast: twice the light, nearly the same image. The rest is the guard against dark regions."""
    config = RadarConfig()
    dim = to_images(normal_frames(1, 160, 160) // 2, 1)
    assert_allclose(normalise(dim, config), normalise(dim * 2, config), atol=0.05)
    dark = to_images(np.random.default_rng(0).integers(0, 2, (1, 100, 100), np.uint8), 1)
    assert normalise(dark, config).abs().max() < 0.2  # one level of noise, in the dark


@pytest.mark.parametrize(("window", "size"), [(5, (9, 11)), (63, (40, 90)), (63, (300, 700))])
def test_box_mean_is_the_mean_of_the_window_inside_the_image(window: int, size: tuple[int, int]) -> None:
    image = 255 * torch.rand(2, 3, *size)
    found, reach = box_mean(image, window), window // 2
    assert found.dtype == image.dtype
    for row, column in [(0, 0), (size[0] // 2, size[1] // 2), (size[0] - 1, 4), (2, size[1] - 1)]:
        rows, columns = (slice(max(0, at - reach), at + reach + 1) for at in (row, column))
        assert_allclose(found[:, :, row, column], image[:, :, rows, columns].mean(dim=(2, 3)), rtol=1e-5)


def test_padding_repeats_the_border() -> None:
    padded = pad_to_stride(torch.arange(6.0).reshape(1, 1, 2, 3), 4)
    assert padded.shape == (1, 1, 4, 4)
    assert_array_equal(padded[0, 0, 3], [3, 4, 5, 5])


def test_a_map_spans_its_frame_and_no_more() -> None:
    """A map that says where in the frame each position lies, in pixels, still does; the last one reaches beyond."""
    height, width, scale = 41, 56, 8
    middles = (torch.arange(6.0)[:, None] + 0.5) * scale
    found = over_frame(middles.expand(6, 7)[None], height, width, scale)
    assert found.shape == (1, 6, 7)
    expected = (torch.arange(6.0) + 0.5) * height / 6
    assert_allclose(found[0, :, 3].numpy(), expected.numpy().clip(min=scale / 2), rtol=1e-5)
    whole = torch.rand(1, 6, 7)
    assert over_frame(whole, 48, 56, 8) is whole


def test_sobel_of_a_slope_is_its_steepness_and_of_a_flat_image_nothing() -> None:
    slope = torch.arange(8.0).repeat(8, 1)[None, None]
    assert_allclose(sobel_magnitude(3 * slope)[0, 1:-1, 1:-1], 3.0, rtol=1e-6)
    assert_array_equal(sobel_magnitude(torch.ones(1, 1, 8, 8)), np.zeros((1, 8, 8)))


def test_sobel_is_the_magnitude_of_its_two_kernels_over_all_channels() -> None:
    noise = torch.randn(2, 3, 7, 9)
    kernel = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]]) / 8
    padded = torch.nn.functional.pad(noise, (1, 1, 1, 1), mode="replicate").flatten(0, 1)[:, None]
    slopes = torch.nn.functional.conv2d(padded, torch.stack([kernel, kernel.T])[:, None]).view(2, 6, 7, 9)
    assert_allclose(sobel_magnitude(noise), slopes.square().sum(dim=1).sqrt(), rtol=1e-5)


@pytest.mark.parametrize(("scale", "size"), [(1, (41, 56)), (2, (33, 40)), (1, (9, 8))])
def test_pooled_is_the_root_mean_square_of_the_square_around_each_cell(scale: int, size: tuple[int, int]) -> None:
    config = RadarConfig.in_pixels(scale=scale, pooled_px=24)
    values = torch.rand(1, *size)
    found = pooled(values, config)
    cell = 8 // scale
    assert found.shape == (1, -(-size[0] // cell), -(-size[1] // cell))
    for row in range(found.shape[1]):
        for column in range(found.shape[2]):
            down, across = (slice(max(0, (n - 1) * cell), (n + 2) * cell) for n in (row, column))
            assert_allclose(found[0, row, column], values[0, down, across].square().mean().sqrt(), rtol=1e-5)


def test_contrast_is_blind_to_the_level_of_the_map_and_sees_a_peak() -> None:
    even = torch.rand(1, 40, 40) + 1
    peaked = even.clone()
    peaked[0, 5, 5:9] = 20
    assert_allclose(peak(even * 7, 0.003, True), peak(even, 0.003, True), rtol=1e-4)
    assert_allclose(peak(even * 7, 0.003, False), 7 * peak(even, 0.003, False), rtol=1e-4)
    assert peak(peaked, 0.003, True) > 5 * peak(even, 0.003, True)


def test_the_norm_of_all_is_the_root_mean_square_and_of_few_the_loudest() -> None:
    norm = torch.ones(1, 10, 10)
    norm[0, 3, 4] = 9
    assert loud_norm(norm, 1.0) == pytest.approx(np.sqrt((99 + 81) / 100))
    assert loud_norm(norm, 0.01) == 9


def test_each_feature_is_of_its_own_map_and_share() -> None:
    config = RadarConfig.in_features(norm_fraction=0.5, top_fraction=0.01)
    norm, sobel = torch.arange(100.0).view(1, 10, 10), torch.arange(100.0).view(1, 10, 10) * 10
    loudest = np.sqrt(np.mean(np.arange(50, 100) ** 2.0))
    assert_allclose(measure(norm, sobel, config), [[loudest, 990]], rtol=1e-4)


@pytest.mark.parametrize(
    ("value", "rounded"),
    [(0.0, 0.0), (123456.0, 123460.0), (-0.000123456, -0.00012346), (9.99999, 10.0), (28.3681, 28.368)],
)
def test_rounding_keeps_significant_digits_and_no_noise_behind_them(value: float, rounded: float) -> None:
    assert round_significant(np.array([value]), 5) == [rounded]


@pytest.mark.parametrize("largest", [0.01, 1.0, 1000.0])
def test_the_same_to_rounding_is_relative_to_the_largest(largest: float) -> None:
    left = torch.tensor([0.0, -largest])
    assert same_to_rounding(left, 1.00008 * left)
    assert not same_to_rounding(left, 1.0002 * left)
    assert not same_to_rounding(left, left + torch.tensor([0.0002 * largest, 0]))


@pytest.mark.parametrize(
    "change",
    [
        {"timestep": 1000},
        {"patch_px": 98},
        {"blur_px": 4},
        {"channels": (9, 16)},
        {"channels": (8000, 8000)},
        {"channels": (8,) * 9, "fold": 1, "patch_px": 256},
        {"fold": 64, "patch_px": 128},
        {"shrinks": (1,) * 9},
        {"pooled_px": 16},
        {"pooled_px": 24, "scale": 3},
        {"typo": 1},
    ],
)
def test_a_senseless_configuration_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        RadarConfig.model_validate(change)
