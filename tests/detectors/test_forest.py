"""The forest as arrays equals scikit-learn's, and the judgement on top of it keeps its promises."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.ensemble import IsolationForest

from pipeline.detectors.radar.forest import ForestArrays, isolation_score
from pipeline.detectors.radar.judgement import Judgement
from pipeline.training.radar.forest import fit_judgement, to_arrays

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(("samples", "features"), [(2, 1), (7, 2), (85, 2), (400, 3)])
def test_arrays_score_as_scikit_learn_does(samples: int, features: int) -> None:
    random = np.random.default_rng(samples)
    forest = IsolationForest(n_estimators=50, random_state=0).fit(random.lognormal(size=(samples, features)))
    asked = random.lognormal(sigma=2, size=(300, features))
    assert_allclose(isolation_score(to_arrays(forest), asked), -forest.score_samples(asked), rtol=0, atol=1e-9)


def test_ties_in_the_samples_are_no_trouble() -> None:
    repeated = np.repeat([[1.0, 2.0], [1.0, 3.0]], 20, axis=0)
    forest = IsolationForest(n_estimators=10, random_state=0).fit(repeated)
    asked = np.array([[1.0, 2.0], [5.0, 5.0]])
    assert_allclose(isolation_score(to_arrays(forest), asked), -forest.score_samples(asked), rtol=0, atol=1e-9)


def test_no_samples_no_scores() -> None:
    forest = IsolationForest(n_estimators=5, random_state=0).fit(np.random.default_rng(0).normal(size=(20, 2)))
    assert isolation_score(to_arrays(forest), np.empty((0, 2))).shape == (0,)


@pytest.fixture(scope="module")
def judgement() -> Judgement:
    return fit_judgement(np.random.default_rng(0).lognormal(sigma=0.3, size=(80, 2)), trees=100, seed=0)


def test_tensors_bring_it_back(judgement: Judgement) -> None:
    asked = np.random.default_rng(1).lognormal(size=(50, 2))
    assert_array_equal(Judgement.from_tensors(judgement.tensors()).score(asked), judgement.score(asked))
    assert isinstance(judgement.forest, ForestArrays)


def test_cleaner_than_normal_is_no_anomaly(judgement: Judgement) -> None:
    below_median = np.exp(judgement.median + np.array([[-3.0], [-1.0], [0.0]]))
    assert (np.diff(judgement.score(below_median)) > 0).all()


def test_far_outside_worse_still_scores_higher(judgement: Judgement) -> None:
    factors = np.array([[2.0], [4.0], [40.0], [400.0]])
    scores = judgement.score(np.exp(judgement.highest) * factors)
    assert (np.diff(scores) > 0).all()


def test_the_score_by_hand(judgement: Judgement) -> None:
    """Isolation of what lies above the median, and 0.02 of a spread for each by which a feature lies outside."""
    middle, spread = (judgement.median + judgement.highest) / 2, judgement.spread
    below, inside, above = judgement.median - 2 * spread, middle, judgement.highest + 3 * spread
    asked = np.stack([inside, below, above, np.array([below[0], above[1]])])
    isolated = isolation_score(judgement.forest, np.maximum(asked, judgement.median))
    assert_allclose(judgement.score(np.exp(asked)), isolated + 0.02 * np.array([0, -4, 6, 1]), atol=1e-6)


def test_zero_features_are_finite(judgement: Judgement) -> None:
    assert np.isfinite(judgement.score(np.zeros((1, 2)))).all()


def test_one_sample_is_too_few() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        fit_judgement(np.ones((1, 2)), trees=5, seed=0)


def test_a_forest_without_an_end_is_refused(judgement: Judgement) -> None:
    """A replica would have walked it for ever as it loaded the bundle."""
    with pytest.raises(ValueError, match="nodes says that it is"):
        Judgement.from_tensors({**judgement.tensors(), "forest.depth": np.array([10**12])})
