"""One process at a time in a folder."""

import fcntl
from pathlib import Path

import pytest

from pipeline.errors import AndonError
from pipeline.files.alone import alone_in

pytestmark = pytest.mark.unit


def test_who_is_refused_leaves_the_folder_to_who_holds_it(tmp_path: Path) -> None:
    """It was empty, so it was taken away, and a third got in beside the first."""
    folder = tmp_path / "held"
    with alone_in(folder, "another works"):
        for _ in range(2):
            with pytest.raises(AndonError, match="another works"), alone_in(folder, "another works"):
                pass
        assert folder.is_dir()
    assert not folder.exists()


def test_a_folder_that_is_taken_away_before_it_is_locked_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever had it ends just then: a lock on what has no name any more keeps nobody out."""
    folder = tmp_path / "held"
    lock, taken_away = fcntl.flock, []

    def after_it_was_taken_away(held: int, how: int) -> None:
        if not taken_away:
            taken_away.append(folder.rmdir())
        lock(held, how)

    monkeypatch.setattr("pipeline.files.alone.fcntl.flock", after_it_was_taken_away)
    with alone_in(folder, "another works"):
        assert folder.is_dir()
        with pytest.raises(AndonError, match="another works"), alone_in(folder, "another works"):
            pass
