"""Maps that wait on disk."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from support.disk import files_of_at_most

from pipeline.errors import AndonError
from pipeline.training.figures.shelf import MapShelf

pytestmark = pytest.mark.unit


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_every_map_comes_back_as_it_was_put() -> None:
    random = np.random.default_rng(0)
    maps = {number: random.normal(size=(3 + number, 5)).astype(np.float32) for number in (4, 0, 2)}
    with MapShelf() as shelf:
        for number, one in maps.items():
            shelf.put(number, one)
        shelf.put(2, maps[2] + 1)
        assert_array_equal(shelf.get(0), maps[0])
        assert_array_equal(shelf.get(2), maps[2] + 1)
        assert_array_equal(shelf.get(4), maps[4])


def test_nothing_is_left_by_a_process_that_is_killed(temporary: Path) -> None:
    """`kill`, a time limit or a full memory runs no clean-up: each left the maps of all its images in /tmp."""
    with MapShelf() as shelf:
        shelf.put(0, np.zeros((100, 100), np.float32))
        assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("side", [40, 1000])
def test_a_full_disk_is_told_with_its_folder(side: int, temporary: Path) -> None:
    """Of a small map, too, which waits in a buffer, and would fail once more at the end."""
    with (
        files_of_at_most(5_000),
        pytest.raises(AndonError, match=rf"{temporary}.* TMPDIR"),
        MapShelf() as shelf,
    ):
        shelf.put(0, np.zeros((side, side), np.float32))


def test_a_machine_without_room_for_any_temporary_file_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A trace, though --out lay on another disk: Python tries each folder for temporary files, and finds none."""
    monkeypatch.setattr(tempfile, "tempdir", None)
    with files_of_at_most(0), pytest.raises(AndonError, match="TMPDIR"):
        MapShelf()
