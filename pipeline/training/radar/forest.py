"""Fits scikit-learn's Isolation Forest and takes it apart into arrays."""

import numpy as np
from numpy.typing import NDArray

from pipeline.detectors.radar.forest import ForestArrays
from pipeline.detectors.radar.judgement import Judgement, log_features

_LEAST_SPREAD = 1e-3
"""Of log features: normals that differ by less than 0.1 % are taken to differ by that."""


def fit_judgement(features: NDArray[np.float64], trees: int, seed: int) -> Judgement:
    """features (N, F) of held-out normals. Raises ValueError when N < 2."""
    logs = log_features(features)
    median = np.median(logs, axis=0)
    forest = fit_forest(np.maximum(logs, median), trees, seed)
    return Judgement(forest, median, logs.max(axis=0), np.maximum(logs.std(axis=0), _LEAST_SPREAD))


def fit_forest(samples: NDArray[np.float64], trees: int, seed: int) -> ForestArrays:
    """samples (N, F), N ≥ 2. Every tree sees at most 256 of them, as in Liu, Ting and Zhou (2008)."""
    from sklearn.ensemble import IsolationForest

    if len(samples) < 2:
        raise ValueError(
            f"an Isolation Forest needs at least 2 normals that the network was not fitted on, not {len(samples)}"
        )
    return to_arrays(IsolationForest(n_estimators=trees, random_state=seed).fit(samples))


def to_arrays(forest: "IsolationForest") -> ForestArrays:  # type: ignore[name-defined]  # noqa: F821
    """A fitted sklearn IsolationForest over all features → ForestArrays that score the same."""
    trees = [estimator.tree_ for estimator in forest.estimators_]
    nodes = max(tree.node_count for tree in trees)
    shape = (len(trees), nodes)
    feature, left, right = (np.zeros(shape, dtype=np.int16) for _ in range(3))
    split, path_length = np.zeros(shape), np.zeros(shape)
    for row, tree in enumerate(trees):
        count = tree.node_count
        is_leaf = tree.children_left < 0
        itself = np.arange(count)
        feature[row, :count] = np.where(is_leaf, 0, tree.feature)
        split[row, :count] = np.where(is_leaf, 0, tree.threshold)
        left[row, :count] = np.where(is_leaf, itself, tree.children_left)
        right[row, :count] = np.where(is_leaf, itself, tree.children_right)
        path_length[row, :count] = np.where(is_leaf, _node_depths(tree) + mean_search_length(tree.n_node_samples), 0)
    depth = max(tree.max_depth for tree in trees)
    normaliser = mean_search_length(np.array([forest.max_samples_]))
    return ForestArrays(feature, split, left, right, path_length, np.array([depth]), normaliser)


def _node_depths(tree: "Tree") -> NDArray[np.int64]:  # type: ignore[name-defined]  # noqa: F821
    depths = np.zeros(tree.node_count, dtype=np.int64)
    for node in range(tree.node_count):  # sklearn numbers a parent before its children
        if tree.children_left[node] >= 0:
            depths[[tree.children_left[node], tree.children_right[node]]] = depths[node] + 1
    return depths


def mean_search_length(samples: NDArray[np.integer]) -> NDArray[np.float64]:
    """c(n) of Liu, Ting and Zhou (2008), eq. 1: the mean depth of an unsuccessful search in a tree of n samples."""
    n = np.maximum(samples, 2).astype(np.float64)
    length = 2.0 * (np.log(n - 1.0) + np.euler_gamma) - 2.0 * (n - 1.0) / n
    return np.where(samples <= 1, 0.0, np.where(samples == 2, 1.0, length))
