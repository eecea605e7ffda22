"""Anomaly maps on disk while a data set is worked through: a large set's maps would fill the memory."""

import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray


class MapShelf:
    """One map for each number, until the shelf is closed."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="andon-maps-")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._folder.cleanup()

    def put(self, number: int, anomaly_map: NDArray[np.float32]) -> None:
        np.save(self._path(number), anomaly_map, allow_pickle=False)

    def get(self, number: int) -> NDArray[np.float32]:
        """Raises FileNotFoundError for a number that was never put."""
        found: NDArray[np.float32] = np.load(self._path(number), allow_pickle=False)
        return found

    def _path(self, number: int) -> Path:
        return Path(self._folder.name) / f"{number}.npy"
