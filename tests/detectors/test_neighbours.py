"""A promise of false stops takes parts to be independent: whoever gives others is told, and nobody else."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from pipeline.training.threshold.neighbours import likeness_of_neighbours

pytestmark = pytest.mark.unit


def test_independent_parts_are_hardly_ever_taken_for_others() -> None:
    random = np.random.default_rng(0)
    draws = [random.standard_cauchy(size) for size in (20, 60, 400) for _ in range(1000)]
    assert sum(likeness_of_neighbours(scores) is not None for scores in draws) <= 4


@pytest.mark.parametrize("alike", [0.5, 0.9])
def test_pictures_of_one_part_are_seen(alike: float) -> None:
    """Four of each of 100 parts, in turn."""
    random = np.random.default_rng(1)
    for _ in range(50):
        own, of_part = random.normal(size=(100, 4)), random.normal(size=(100, 1))
        scores = (np.sqrt(alike) * of_part + np.sqrt(1 - alike) * own).ravel()
        found = likeness_of_neighbours(scores)
        assert found is not None
        assert found == pytest.approx(spearmanr(scores[1:], scores[:-1]).statistic, abs=0.02)


def test_scores_that_do_not_differ_say_nothing() -> None:
    assert likeness_of_neighbours(np.ones(100)) is None
    assert likeness_of_neighbours(np.zeros(0)) is None
