"""A frame's name is unique for ever and sorts by time."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.events import NAME
from workers.camera.identity import Repeats, new_boot_id

pytestmark = pytest.mark.unit

MOMENTS = st.datetimes(datetime(2020, 1, 1), datetime(2500, 1, 1), timezones=st.just(UTC))


@given(MOMENTS, st.integers(min_value=1, max_value=10**12))
def test_a_later_boot_sorts_later(moment: datetime, later_ms: int) -> None:
    first, second = new_boot_id(moment), new_boot_id(moment + timedelta(milliseconds=later_ms))
    assert first < second
    assert re.match(NAME, first)


def test_boots_of_the_same_millisecond_differ() -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    assert len({new_boot_id(moment) for _ in range(50)}) > 45


def test_only_direct_neighbours_count_as_repeats() -> None:
    repeats = Repeats()
    assert [repeats.of(image) for image in (b"a", b"a", b"a", b"b", b"a", b"a")] == [0, 1, 2, 0, 0, 1]
