"""A batch holds as many records as its worker has time for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.kafka.batching import BatchSize

pytestmark = pytest.mark.unit


def test_it_begins_with_one_and_takes_as_many_as_fit() -> None:
    size = BatchSize(16, within_s=10)
    assert size.now == 1
    size.took(1, 0.05)
    assert size.now == 16
    size.took(16, 64)  # 4 s each
    assert size.now == 2


def test_what_takes_too_long_alone_is_still_taken() -> None:
    size = BatchSize(16, within_s=10)
    size.took(1, 50)
    assert size.now == 1


def test_a_poll_that_brought_nothing_tells_nothing() -> None:
    size = BatchSize(16, within_s=10)
    size.took(1, 1)
    size.took(0, 5)
    assert size.now == 10


@given(st.lists(st.tuples(st.integers(0, 100), st.floats(0, 1e6)), max_size=20))
def test_it_stays_within_its_bounds(turns: list[tuple[int, float]]) -> None:
    size = BatchSize(16, within_s=10)
    for records, seconds in turns:
        size.took(records, seconds)
        assert 1 <= size.now <= 16


def test_only_a_batch_that_would_take_long_is_cut() -> None:
    """What is put back is read again: a mix of small and large pictures was, most of it."""
    size = BatchSize(16, within_s=0.25)
    assert size.cut([1.0] * 16) == 16
    size.took(16, 0.16)
    assert size.cut([15.0] * 16) == 16
    assert size.cut([100.0] * 16) == 2
    assert size.cut([9000.0, 1.0]) == 1
