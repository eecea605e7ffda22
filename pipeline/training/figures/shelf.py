"""Anomaly maps on disk while a data set is worked through: a large set's maps would fill the memory."""

import os
import tempfile
from contextlib import suppress
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray


class MapShelf:
    """One map for each number, until the shelf is closed.

    In a file without a name: it is gone with its process, however that ends.
    """

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  # closed in __exit__
        self._begins: dict[int, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):  # what no longer fits is not needed
            self._file.close()

    def put(self, number: int, anomaly_map: NDArray[np.float32]) -> None:
        """Raises OSError that names the folder where the disk is full."""
        self._begins[number] = self._file.seek(0, os.SEEK_END)
        try:
            np.save(self._file, anomaly_map, allow_pickle=False)
            self._file.flush()
        except OSError as error:
            error.filename = tempfile.gettempdir()
            raise

    def get(self, number: int) -> NDArray[np.float32]:
        """Raises KeyError for a number that was never put."""
        self._file.seek(self._begins[number])
        found: NDArray[np.float32] = np.load(self._file, allow_pickle=False)
        return found
