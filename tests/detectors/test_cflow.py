"""CFLOW's own parts: the flow against its mathematics, and the model against what a stream needs of it."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from detectors.conftest import TINY_CFLOW, normal_frames
from numpy.testing import assert_allclose, assert_array_equal
from pydantic import ValidationError
from torch import Tensor

from pipeline.detectors.bundle import BundleError, load_bundle, save_bundle
from pipeline.detectors.cflow.config import CflowConfig
from pipeline.detectors.cflow.features import fit_whitening, level_maps, light
from pipeline.detectors.cflow.flow import ConditionalFlow
from pipeline.detectors.cflow.likelihood import Reference, peak, shortfall_by_place, shortfall_of_likelihood
from pipeline.detectors.cflow.position import bins, encode, places
from pipeline.detectors.registry import load_detector

pytestmark = pytest.mark.unit

CHANNELS, CONDITION = 7, 8
"""Odd on purpose: the two halves of a coupling differ."""


@pytest.fixture
def flow() -> ConditionalFlow:
    """Far from the identity that a flow starts as."""
    torch.manual_seed(0)
    flow = ConditionalFlow(CHANNELS, CONDITION, blocks=4, clamp=1.9).double()
    for parameter in flow.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return flow


def drawn(count: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    fibres = torch.randn(count, CHANNELS, generator=generator, dtype=torch.float64)
    return fibres, torch.randn(count, CONDITION, generator=generator, dtype=torch.float64)


def test_the_inverse_gives_the_fibres_back(flow: ConditionalFlow) -> None:
    fibres, encodings = drawn(20)
    with torch.no_grad():
        latent, _ = flow.transform(fibres, encodings)
        assert (latent - fibres).abs().max() > 0.5
        assert_allclose(flow.inverse(latent, encodings), fibres, atol=1e-9)


def test_the_log_determinant_is_autograds(flow: ConditionalFlow) -> None:
    fibres, encodings = drawn(5)
    _, found = flow.transform(fibres, encodings)
    for index in range(len(fibres)):

        def latent_of(fibre: Tensor, index: int = index) -> Tensor:
            return flow.transform(fibre[None], encodings[index : index + 1])[0][0]

        jacobian = torch.autograd.functional.jacobian(latent_of, fibres[index])
        assert_allclose(found[index].item(), torch.linalg.slogdet(jacobian).logabsdet.item(), rtol=1e-9)


def sumprod(left: list[float], right: list[float]) -> float:
    return sum(a * b for a, b in zip(left, right, strict=True))


def slow_log_likelihood(flow: ConditionalFlow, fibre: list[float], encoding: list[float]) -> float:
    """One fibre, number by number, from the equations: the reference that the vectorised flow must equal."""
    x, log_det = list(fibre), 0.0
    for block in flow.blocks:
        w_fibre, bias, w_position, w_out, b_out, log_scales, shifts, order = (
            tensor.tolist()
            for tensor in (
                block.fibre_in.weight,
                block.fibre_in.bias,
                block.position_in.weight,
                block.out.weight,
                block.out.bias,
                block.log_scale,
                block.shift,
                block.permutation,
            )
        )
        kept = (CHANNELS + 1) // 2
        changed = CHANNELS - kept
        hidden = [
            max(0.0, bias[k] + sumprod(w_fibre[k], x[:kept]) + sumprod(w_position[k], encoding))
            for k in range(len(bias))
        ]
        out = [b_out[k] + sumprod(w_out[k], hidden) for k in range(2 * changed)]
        y = x[:kept]
        for k in range(changed):
            s = 1.9 * math.tanh(out[k] / 1.9)
            y.append(x[kept + k] * math.exp(s) + out[changed + k])
            log_det += s
        y = [value * math.exp(log_scales[k]) + shifts[k] for k, value in enumerate(y)]
        log_det += sum(log_scales)
        x = [y[k] for k in order]
    normal = -0.5 * CHANNELS * math.log(2 * math.pi) - 0.5 * sum(value**2 for value in x)
    return (normal + log_det) / CHANNELS


def test_log_likelihoods_are_those_of_a_slow_reference(flow: ConditionalFlow) -> None:
    fibres, encodings = drawn(6)
    expected = [slow_log_likelihood(flow, *pair) for pair in zip(fibres.tolist(), encodings.tolist(), strict=True)]
    assert_allclose(flow.of_fibres(fibres, encodings).detach(), expected, rtol=1e-10)


def test_a_grid_is_scored_as_its_fibres_one_by_one(flow: ConditionalFlow) -> None:
    """The separable position: a row's part plus a column's part is the whole."""
    maps = torch.randn(2, 3, 5, CHANNELS, dtype=torch.float64)
    columns, rows = torch.randn(5, CONDITION // 2).double(), torch.randn(3, CONDITION // 2).double()
    with torch.no_grad():
        found = flow(maps, columns, rows)
        for frame, row, column in np.ndindex(2, 3, 5):
            one = flow.of_fibres(maps[frame, row, column][None], torch.cat([columns[column], rows[row]])[None])
            assert_allclose(found[frame, row, column], one[0], rtol=1e-10)


def test_it_starts_as_a_gaussian() -> None:
    flow = ConditionalFlow(CHANNELS, CONDITION, blocks=2, clamp=1.9)
    fibres, encodings = (tensor.float() for tensor in drawn(9))
    gaussian = torch.distributions.Normal(0, 1).log_prob(fibres).mean(dim=1)
    assert_allclose(flow.of_fibres(fibres, encodings).detach(), gaussian, rtol=1e-5)


def test_every_parameter_learns() -> None:
    flow = ConditionalFlow(CHANNELS, CONDITION, blocks=2, clamp=1.9)
    fibres, encodings = (tensor.float() for tensor in drawn(9))
    for block in flow.blocks:
        torch.nn.init.normal_(block.out.weight)  # zero at the start: nothing in front of it would learn yet
    flow.of_fibres(fibres, encodings).mean().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in flow.parameters())


def test_the_clamp_bounds_what_a_block_can_stretch(flow: ConditionalFlow) -> None:
    fibres, encodings = drawn(3)
    for block in flow.blocks:
        torch.nn.init.zeros_(block.log_scale)
    _, log_det = flow.transform(fibres * 1e6, encodings)
    assert log_det.abs().max() <= 4 * 1.9 * (CHANNELS // 2) + 1e-9


def test_positions_agree_between_sizes_where_they_are_relative() -> None:
    small, large = places(10, 8, "relative"), places(30, 8, "relative")
    assert_allclose(small, large[1::3], rtol=1e-6)
    assert_allclose(places(10, 8, "absolute"), places(30, 8, "absolute")[:10])
    assert_allclose(places(4, 16, "absolute").diff(), 2.0)


def test_a_place_is_encoded_as_in_the_paper() -> None:
    """The middles of two cells of an axis of 32, each as sine and cosine of the place and of a hundredth of it."""
    expected = [[f(rate * place) for rate in (1, 0.01) for f in (math.sin, math.cos)] for place in (8, 24)]
    assert_allclose(encode(places(2, 8, "relative"), 4), expected, rtol=1e-5)


def test_no_two_places_share_an_encoding() -> None:
    codes = encode(places(60, 8, "relative"), 64)
    assert codes.shape == (60, 64)
    assert torch.cdist(codes, codes).fill_diagonal_(9).min() > 0.1


def test_whitened_normals_have_unit_covariance() -> None:
    mix = torch.tensor([[1.0, 1, 0, 0], [0, 50, 20, 0], [0, 0, 30, 0], [0.02, 0, 0, 0.01]])
    fibres = torch.randn(5000, 4, generator=torch.Generator().manual_seed(0)) @ mix + 7
    white = fit_whitening(fibres, most=4)(fibres)
    assert_allclose(white.mean(dim=0), 0, atol=1e-3)
    assert_allclose(white.T @ white / len(white), np.eye(4), atol=0.15)


def test_a_channel_in_which_normals_never_differ_is_no_trouble() -> None:
    fibres = torch.randn(500, 3, generator=torch.Generator().manual_seed(0))
    fibres[:, 1] = 0
    assert fit_whitening(fibres, most=3)(fibres).isfinite().all()


def test_of_many_directions_those_of_most_variance_are_kept() -> None:
    fibres = torch.randn(500, 3) @ torch.tensor([[1.0, 1, 0], [0.1, -0.1, 0], [0, 0, 1]])
    white = fit_whitening(fibres, most=2)(fibres)
    assert white.shape == (500, 2)
    assert abs(torch.corrcoef(torch.stack([white[:, 1], fibres[:, 0] + fibres[:, 1]]))[0, 1]) > 0.99


def test_exposure_cancels_out() -> None:
    dim = normal_frames(1, 160, 160) // 2
    cpu = torch.device("cpu")
    assert_allclose(light(dim, 1, 64, cpu), light(dim * 2, 1, 64, cpu), atol=0.1)


def test_light_is_relative_to_what_lies_within_the_window() -> None:
    """Half of it on each side; beyond, and beyond the frame's border, nothing counts."""
    halves = np.full((1, 96, 192), 60, np.uint8)
    halves[..., 96:] = 180
    even = light(halves, 1, 64, torch.device("cpu"))[0, 0, 48]
    assert_allclose(even[:56], even[0], atol=1e-5)
    assert_allclose(even[0], 100 * 60 / (60 + 4) / 127.5 - 1, atol=1e-5)
    assert even[72] < even[0] - 0.05


def test_a_fibre_is_the_mean_of_those_around_it_that_there_are() -> None:
    level = torch.zeros(1, 1, 4, 5)
    level[0, 0, 0, 0] = 12
    (found,) = level_maps(lambda _: [level], torch.empty(0), 3)  # type: ignore[arg-type]
    assert_allclose(found[0, :, :, 0], [[3, 2, 0, 0, 0], [2, 12 / 9, 0, 0, 0]] + [[0] * 5] * 2, rtol=1e-6)


def reference(highest: float = 0.0) -> Reference:
    return Reference(torch.tensor(highest), torch.zeros(4), torch.ones(4))


def test_very_unlikely_places_do_not_tie() -> None:
    """exp(−200) is 0 in single precision, and so is exp(−2000)."""
    levels = [torch.tensor([[[-1.0, -200.0, -2000.0]]]), torch.tensor([[[-1.0, -300.0, -3000.0]]])]
    found = shortfall_of_likelihood(levels, [reference()] * 2)
    assert found[0, 0, 0] < found[0, 0, 1] < found[0, 0, 2]


def test_where_nothing_underflows_the_map_ranks_as_the_papers() -> None:
    levels = [torch.rand(1, 4, 4) * -3, torch.rand(1, 4, 4) * -3]
    ours = shortfall_of_likelihood(levels, [reference(), reference(highest=-1.0)]).flatten()
    papers = -(levels[0].exp() + (levels[1] + 1).exp()).flatten()
    assert_array_equal(ours.argsort(), papers.argsort())


def test_by_place_a_fibre_is_judged_against_normals_at_its_place() -> None:
    """The right half of normals is unlikely and varies a lot."""
    normals = Reference(torch.tensor(0.0), torch.tensor([-1.0, -5.0, -1.0, -5.0]), torch.tensor([0.5, 2.0, 0.5, 2.0]))
    found = shortfall_by_place([torch.full((1, 2, 6), -3.0)], [normals], place_bins=2)
    assert_allclose(found[0], [[4, 4, 4, -1, -1, -1]] * 2)
    levels = [torch.full((1, 2, 6), -3.0), torch.full((1, 2, 6), -1.0)]
    both = shortfall_by_place(levels, [normals] * 2, place_bins=2)  # the mean over the levels
    assert_allclose(both[0], [[2, 2, 2, -1.5, -1.5, -1.5]] * 2)


def test_bins_cut_a_grid_into_equal_parts() -> None:
    assert bins(4, 6, 2).tolist() == [[0, 0, 0, 1, 1, 1]] * 2 + [[2, 2, 2, 3, 3, 3]] * 2
    assert bins(1, 1, 12).tolist() == [[0]]


def test_the_score_is_the_mean_of_the_top() -> None:
    maps = torch.arange(100.0).reshape(1, 10, 10)
    assert peak(maps, 0)[0] == 99
    assert peak(maps, 0.04)[0] == 97.5


def test_a_frame_below_the_patch_is_refused(bundles: dict[str, Path]) -> None:
    with pytest.raises(ValueError, match="below the 32 px"):
        load_detector(bundles["cflow"], "cpu").predict(normal_frames(1, 31, 64))


def test_another_version_is_refused(bundles: dict[str, Path], tmp_path: Path) -> None:
    info, tensors = load_bundle(bundles["cflow"])
    save_bundle(tmp_path, info.model_copy(update={"method_version": 999}), tensors)
    with pytest.raises(BundleError, match="version 999"):
        load_detector(tmp_path, "cpu")


@pytest.mark.parametrize("part", ["flow.2.", "whitening.", "encoder.", "reference."])
def test_missing_tensors_are_refused(bundles: dict[str, Path], tmp_path: Path, part: str) -> None:
    info, tensors = load_bundle(bundles["cflow"])
    save_bundle(tmp_path, info, {name: tensor for name, tensor in tensors.items() if not name.startswith(part)})
    with pytest.raises(BundleError, match="whole cflow model"):
        load_detector(tmp_path, "cpu")


@pytest.mark.parametrize(
    "change",
    [
        {"levels": ()},
        {"levels": (3, 2)},
        {"neighbourhood": 2},
        {"condition": 6},
        {"condition": 40_000},
        {"blocks": 1000},
        {"clamp": 0},
        {"typo": 1},
    ],
)
def test_a_senseless_configuration_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        CflowConfig.model_validate({**TINY_CFLOW.model_dump(), **change})
