"""What a camera took and nobody will see is counted once, by its own numbers or as it came in part."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.camera.sources.genicam.losses import Losses

pytestmark = pytest.mark.unit


def lost(*frames: int | str | None) -> int:
    """frames: their numbers; "part" for one that came in part."""
    losses = Losses()
    for frame in frames:
        losses.in_part() if isinstance(frame, str) else losses.whole(frame)
    return losses.untold


@given(st.sets(st.integers(0, 9_000), min_size=1), st.integers(0, 2**60))
def test_a_gap_in_the_numbers_is_what_was_lost(numbers: set[int], start: int) -> None:
    assert lost(*(start + number for number in sorted(numbers))) == max(numbers) - min(numbers) + 1 - len(numbers)


@given(st.lists(st.sampled_from(["whole", "in part", "gone"]), max_size=40))
def test_each_frame_between_two_whole_ones_is_lost_once(fates: list[str]) -> None:
    losses = Losses()
    losses.whole(100)
    for number, fate in enumerate([*fates, "whole"], 101):
        if fate == "whole":
            losses.whole(number)
        elif fate == "in part":
            losses.in_part()
    assert losses.untold == sum(fate != "whole" for fate in fates)


def test_what_came_in_part_is_counted_though_no_whole_one_ever_comes() -> None:
    assert lost("part", "part") == 2


def test_without_numbers_only_what_came_in_part_is_known() -> None:
    assert lost(None, None, "part", None) == 1


def test_a_counter_that_began_anew_is_no_loss() -> None:
    assert lost(5, 6, 0, 1) == 0
    assert lost(7, 2**40) == 0
    assert lost(60_000 - 20_000, 1) == 0
    assert lost(65_534, 65_535, 1, 2) == 0  # GigE Vision 1 knows no frame 0
    assert lost(65_534, 2) == 2


def test_one_that_was_overtaken_does_not_count_its_followers_as_lost() -> None:
    assert lost(20_001, 20_002, 20_004, 20_003, 20_005) == 1


def test_what_was_told_is_not_told_again() -> None:
    losses = Losses()
    losses.in_part()
    losses.not_taken()
    losses.told(losses.untold)
    losses.not_taken()
    assert losses.untold == 1
