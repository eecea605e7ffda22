"""Colours that many maps share, and that no single map spoils."""

import pytest

from pipeline.drawing import colour_scale, reaching

pytestmark = pytest.mark.unit


def test_alike_maps_use_the_whole_scale() -> None:
    assert colour_scale([0.0, 1.0, 2.0], [9.0, 10.0, 12.0]) == (1.0, 12.0)


def test_one_map_without_bounds_leaves_the_others_their_colours() -> None:
    low, high = colour_scale([1.0] * 9, [50.0] * 8 + [95_000.0])
    assert (50 - low) / (high - low) == pytest.approx(0.25)


def test_flat_maps_still_have_a_highest_peak() -> None:
    assert colour_scale([3.0, 3.0, 3.0], [3.0, 3.0, 8.0]) == (3.0, 8.0)


def test_where_good_parts_are_known_their_maps_tell_what_is_usual() -> None:
    low, high = colour_scale([0.0, 0.0], [3.0, 4.0], highest=95_000.0)
    assert (4 - low) / (high - low) == pytest.approx(4 / 14)
    assert colour_scale([0.0, 0.0], [3.0, 4.0], highest=6.0) == (0.0, 6.0)


def test_damage_far_out_is_pale_where_it_is_and_not_all_around() -> None:
    assert reaching((0.0, 14.0), 95_000.0) == (0.0, 95_000 / 4)
    assert reaching((0.0, 14.0), 20.0) == (0.0, 14.0)
