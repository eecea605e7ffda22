"""A command that can't write its file says so before its work, not after it."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.errors import AndonError
from workers.cli import app

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("command", ["audit --json", "dead save 0:0 --out", "map cam:boot:1 --out"])
def test_a_file_that_cannot_be_written_is_told_before_kafka_is_asked(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An audit had read a day of frames before."""
    monkeypatch.setenv("KAFKA_BOOTSTRAP", "127.0.0.1:1")
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    (tmp_path / "file").write_text("")
    for out, says in ((tmp_path, "is a folder"), (tmp_path / "file" / "below", "is a file")):
        error = CliRunner().invoke(app, [*command.split(), str(out)]).exception
        assert isinstance(error, AndonError)
        assert says in str(error)
