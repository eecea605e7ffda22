import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.replica.ranks import rank

pytestmark = pytest.mark.unit

QUANTILES = {"0.01": 1.0, "0.05": 1.0, "0.5": 2.0, "0.99": 4.0}


@pytest.mark.parametrize(
    ("score", "expected"),
    [(0.5, 0.0), (1.0, 0.05), (1.5, 0.275), (2.0, 0.5), (3.0, 0.745), (4.0, 0.99), (4.1, 1.0)],
)
def test_a_score_lies_between_the_quantiles_of_the_calibration(score: float, expected: float) -> None:
    assert rank(score, QUANTILES) == pytest.approx(expected)


@given(st.lists(st.floats(0, 5), min_size=2))
def test_a_higher_score_never_has_a_lower_rank(scores: list[float]) -> None:
    ranks = [rank(score, QUANTILES) or 0.0 for score in sorted(scores)]
    assert ranks == sorted(ranks)


def test_a_bundle_without_quantiles_ranks_nothing() -> None:
    assert rank(1.0, {}) is None
