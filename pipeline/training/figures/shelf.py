"""Anomaly maps on disk while a data set is worked through: a large set's maps would fill the memory."""

import os
import tempfile
from contextlib import suppress
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import AndonError


def _no_room(error: OSError, where: str = "") -> AndonError:
    """Another --out would not help."""
    return AndonError(
        f"the maps wait in a temporary file{where}, which cannot be written: {error.strerror}. Free some space, or "
        "name a folder with room in TMPDIR"
    )


class MapShelf:
    """One map for each number, until the shelf is closed.

    In a file without a name: it is gone with its process, however that ends.
    """

    def __init__(self) -> None:
        """Raises AndonError where no folder for temporary files takes one."""
        try:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115  # closed in __exit__
        except OSError as error:
            raise _no_room(error) from error
        self._begins: dict[int, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):  # what no longer fits is not needed
            self._file.close()

    def put(self, number: int, anomaly_map: NDArray[np.float32]) -> None:
        """Raises AndonError that names the folder where the disk is full."""
        self._begins[number] = self._file.seek(0, os.SEEK_END)
        try:
            np.save(self._file, anomaly_map, allow_pickle=False)
            self._file.flush()
        except OSError as error:
            raise _no_room(error, f" in {tempfile.gettempdir()}") from error

    def get(self, number: int) -> NDArray[np.float32]:
        """Raises KeyError for a number that was never put."""
        self._file.seek(self._begins[number])
        found: NDArray[np.float32] = np.load(self._file, allow_pickle=False)
        return found
