"""No normal in two roles, none forgotten, and neighbours together."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.training.images.split import Shares, split_by_number, split_contiguous

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
    assert [len(role) for role in vars(split).values()] == [500, 150, 270, 80] or len(split.fit) in range(494, 507)


def test_senseless_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="sum to 1"):
        Shares(fit=0.9)
    with pytest.raises(ValueError, match="at least 1"):
        split_contiguous([1, 2], rounds=0)


def test_pictures_of_one_part_have_one_role() -> None:
    """Six exposures of 90 parts, named exposure first, with file numbers close together."""
    paths = [
        Path(f"exp{exposure}_num_{1000 * part + 13 * exposure}.jpg") for exposure in range(6) for part in range(90)
    ]
    split = split_by_number(sorted(paths))
    assert sorted(path for role in vars(split).values() for path in role) == sorted(paths)
    roles = [{int(path.stem.split("_")[-1]) // 1000 for path in role} for role in vars(split).values()]
    assert sum(map(len, roles)) == 90
    assert all(roles)


@pytest.mark.parametrize("seed", range(20))
def test_gaps_in_the_numbers_hardly_move_the_shares(seed: int) -> None:
    """Of 200 files someone took away every other. Of the 100 that stayed the network got up to 72, the threshold 13."""
    kept = np.random.default_rng(seed).choice(200, 100, replace=False)
    split = split_by_number([Path(f"part{number}.png") for number in kept])
    assert len(split.fit) <= 60
    assert len(split.calibration) >= 15


@given(numbers=st.lists(st.integers(0, 10**6), max_size=80))
def test_splitting_by_number_forgets_none(numbers: list[int]) -> None:
    paths = [Path(f"{order:03d}-{number}.png") for order, number in enumerate(numbers)]
    split = split_by_number(paths)
    assert sorted(path for role in vars(split).values() for path in role) == paths
