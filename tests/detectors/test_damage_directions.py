"""Damage drawn onto normals, the directions that it goes, and the front that looks there alone."""

import numpy as np
import pytest
import torch
from detectors.conftest import TINY_FEATURES, normal_frames
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from pipeline.detectors.encoder import pretrained_encoder
from pipeline.detectors.radar.config import RadarConfig
from pipeline.detectors.radar.front import FeatureFront
from pipeline.detectors.radar.projection import Projection
from pipeline.training.drawn.damage import Damaged, damaged_copies
from pipeline.training.radar.directions import spread_of, standing_out
from pipeline.training.radar.feature_front import Change, cells_of, changes_by_damage, fit_feature_front, fit_projection

pytestmark = pytest.mark.unit
GRAY = normal_frames(6, 64, 80)
RGB = np.repeat(GRAY[..., None], 3, axis=3)
CPU = torch.device("cpu")


@pytest.mark.parametrize("frames", [GRAY, RGB], ids=["gray", "rgb"])
def test_what_is_marked_was_changed_and_nothing_else_was(frames: np.ndarray) -> None:
    marked = 0
    for made in damaged_copies(frames, 0, 40):
        normal = frames[made.normal]
        assert made.frame.shape == normal.shape
        assert made.strength.shape == normal.shape[:2]
        assert 0 <= made.strength.min() <= made.strength.max() <= 1
        changed = made.frame != normal
        changed = changed.any(axis=2) if normal.ndim == 3 else changed
        # A mark is blurred by a pixel or so; beyond it no pixel of the normal may differ.
        assert not changed[made.strength == 0].any()
        marked += bool((made.strength > 0.5).any())
    assert marked > 30  # some are too faint to count, most are not


def test_hue_changes_where_there_is_colour_and_nowhere_else() -> None:
    """In a gray scene that comes as RGB, hue would stand out above all else, and hide the rest."""
    bluish = np.clip(RGB * np.array([1.0, 1.0, 1.2]), 0, 255).astype(np.uint8)

    def least_blue(frames: np.ndarray) -> float:
        """Blue over red where it is lowest in any copy. A gray fill brings it to 1, another hue below."""
        copies = [made.frame.astype(float) + 1 for made in damaged_copies(frames, 0, 60)]
        return min(float(np.quantile(copy[..., 2] / copy[..., 0], 0.001)) for copy in copies)

    assert least_blue(RGB) == 1
    assert least_blue(bluish) < 0.9


def test_the_same_seed_draws_the_same() -> None:
    def drawn(seed: int) -> list[Damaged]:
        return list(damaged_copies(GRAY, seed, 3))

    for first, again, other in zip(drawn(5), drawn(5), drawn(6), strict=True):
        assert_array_equal(first.frame, again.frame)
        assert (first.frame != other.frame).any()


@given(st.integers(1, 12), st.integers(1, 30))
def test_copies_are_drawn_evenly_from_the_normals(normals: int, count: int) -> None:
    frames = [np.full((16, 16), 99, np.uint8)] * normals
    times = np.bincount([made.normal for made in damaged_copies(frames, 0, count)], minlength=normals)
    assert times.sum() == count
    assert times.max() - times.min() <= 1


def test_a_cell_is_damaged_where_any_of_its_pixels_is() -> None:
    strength = np.zeros((24, 32), np.float32)
    strength[9, 17] = 1
    assert cells_of(strength, 3, 4).nonzero().tolist() == [[1, 2]]


def test_directions_are_those_that_damage_goes() -> None:
    """Boldly in one direction, faintly in another, hardly in twenty-eight."""
    generator = torch.Generator().manual_seed(0)
    changes = torch.randn(1000, 30, generator=generator) * 0.05
    changes[:500, 7] += 40
    changes[500:, 3] += 1
    kept = standing_out(spread_of([changes], 30), least=5.0)
    assert kept.shape == (30, 8)  # no fewer
    assert_allclose(kept[[7, 3]].square().sum(dim=0)[:2], 1, atol=0.05)
    assert_allclose(kept.T @ kept, np.eye(8), atol=1e-6)


def test_without_damage_every_direction_is_kept() -> None:
    assert standing_out(spread_of([], 12), least=1.0).shape == (12, 12)


def _normals(generator: torch.Generator) -> list[torch.Tensor]:
    return [torch.randn(20, 16, 18, generator=generator) for _ in range(40)]


def _change(channel: int, channels: int = 20) -> Change:
    features, where = torch.zeros(channels, 16, 18), torch.zeros(16, 18, dtype=torch.bool)
    where[4:10, 5:12] = True
    features[channel, where] = 3
    return Change.around(features, where, 5)


@pytest.mark.parametrize("around_cells", [1, 5])
def test_what_damage_never_does_hardly_counts(around_cells: int) -> None:
    generator = torch.Generator().manual_seed(0)
    config = RadarConfig.in_features(rings=1, loud_share=0, around_cells=around_cells)
    normals = _normals(generator)
    projection = fit_projection(normals, [_change(channel) for channel in range(8)], config)
    assert projection.channels <= 10

    def norm(channel: int) -> float:
        frame = torch.zeros(1, 20, 16, 18)
        frame[0, channel, 4:10, 5:12] = 3
        return float(projection(frame, config)[0, :, 7, 8].norm())

    assert norm(2) > 3 * norm(15)


def test_a_projection_is_stored_to_the_bit() -> None:
    generator = torch.Generator().manual_seed(0)
    for around_cells in (1, 5):
        config = RadarConfig.in_features(rings=2, around_cells=around_cells)
        normals = _normals(generator)
        projection = fit_projection(normals, [_change(channel) for channel in range(8)], config)
        again = Projection.from_tensors(config, projection.tensors())
        assert again.channels == projection.channels
        assert torch.equal(again(normals[0][None], config), projection(normals[0][None], config))


def test_the_front_sees_in_service_what_the_network_was_taught_on() -> None:
    encoder = pretrained_encoder(TINY_FEATURES.encoder, None)
    front, seen = fit_feature_front(encoder, list(GRAY), 1, TINY_FEATURES, 0, CPU)
    assert isinstance(front, FeatureFront)
    assert front.channels == len(seen[0])
    assert_allclose(front(GRAY[:1], CPU)[0], seen[0].float(), rtol=0.05, atol=0.05)


@pytest.mark.parametrize("around_cells", [1, 5])
def test_what_is_kept_of_a_change_is_all_that_is_looked_at(around_cells: int) -> None:
    """Of 20 copies of a frame of 12 megapixels the whole maps took 2.6 GB, and damage covers a small part of them."""
    generator = torch.Generator().manual_seed(0)
    config = RadarConfig.in_features(rings=3, around_cells=around_cells)
    normals = _normals(generator)
    where = torch.zeros(16, 18, dtype=torch.bool)
    where[0, 0] = where[7:9, 9:12] = True
    moved = [torch.randn(20, 16, 18, generator=generator).half() for _ in range(3)]
    kept = [Change.around(one, where, around_cells) for one in moved]
    assert len(kept[0].fibres) < where.numel() / 4
    whole = [Change.around(one, where, 39) for one in moved]
    assert len(whole[0].fibres) == where.numel()
    some, every = (fit_projection(normals, changes, config).tensors() for changes in (kept, whole))
    assert all((some[name] == every[name]).all() for name in every)


@pytest.mark.parametrize(("side", "copies"), [(38, 200), (100, 80), (400, 20)])
def test_large_frames_are_damaged_fewer_times(side: int, copies: int) -> None:
    """What is kept of every copy grows with the frame; half a gigabyte is the most in all, but for the largest."""
    frames = [np.full((32, 32), 99, np.uint8)] * 3
    features = [torch.zeros(1, side, side, dtype=torch.half)] * 3
    assert len(changes_by_damage(frames, features, lambda frame: features[0], 0, 5)) == copies
