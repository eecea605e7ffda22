"""An Isolation Forest as plain arrays: scored by numpy, stored by safetensors, no pickle and no scikit-learn."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class ForestArrays:
    """T trees padded to M nodes each; node 0 is the root, and a leaf is its own child."""

    feature: NDArray[np.int16]
    """(T, M): the column that a node asks about; 0 at a leaf, where the answer does not matter."""
    split: NDArray[np.float64]
    """(T, M): a sample goes left when its value ≤ split."""
    left: NDArray[np.int16]
    right: NDArray[np.int16]
    path_length: NDArray[np.float64]
    """(T, M): at a leaf its depth plus the mean depth at which its samples would have been told apart; 0 elsewhere."""
    depth: NDArray[np.int64]
    """(1,): the longest way from a root to a leaf."""
    normaliser: NDArray[np.float64]
    """(1,): the mean path length of an unsuccessful search among the samples of one tree, c(ψ) of the paper."""

    def tensors(self, prefix: str) -> dict[str, NDArray[Any]]:
        return {prefix + field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[Any]], prefix: str) -> Self:
        """Raises KeyError when one is missing, ValueError where a way from the root would never end."""
        depth, nodes = int(tensors[f"{prefix}depth"][0]), tensors[f"{prefix}left"].shape[1]
        if depth > nodes:
            raise ValueError(f"a forest of trees of {nodes} nodes says that it is {depth} deep")
        return cls(**{field.name: tensors[prefix + field.name] for field in fields(cls)})


def isolation_score(forest: ForestArrays, samples: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, F) → (N,): 2^(−E[path length] / c(ψ)), in (0, 1]; higher is more isolated (Liu, Ting, Zhou 2008, eq. 2).

    Equals `-IsolationForest.score_samples` of scikit-learn, which compares in float32; so does this.
    """
    seen = samples.astype(np.float32)
    rows = np.arange(len(seen))[:, None]
    trees = np.arange(len(forest.feature))[None, :]
    node = np.zeros((len(seen), len(forest.feature)), dtype=np.int16)
    for _ in range(int(forest.depth[0])):
        goes_left = seen[rows, forest.feature[trees, node]] <= forest.split[trees, node]
        node = np.where(goes_left, forest.left[trees, node], forest.right[trees, node])
    mean_length = forest.path_length[trees, node].mean(axis=1)
    score: NDArray[np.float64] = 2.0 ** (-mean_length / forest.normaliser[0])
    return score
