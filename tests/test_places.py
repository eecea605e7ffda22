"""A command that can't write its file says so before its work, not after it."""

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.errors import AndonError
from workers.cli import app
from workers.commands.places import ready_file, write_json

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


def test_what_is_asked_for_on_the_standard_output_goes_there() -> None:
    """Root's `--json /dev/stdout` made a file of /dev/stdout, for every process of the machine."""
    reads, writes = os.pipe()
    place = Path(f"/dev/fd/{writes}")
    ready_file(place)
    write_json(place, {"image_auroc": 0.5})
    os.close(writes)
    with os.fdopen(reads) as told:
        assert json.load(told) == {"image_auroc": 0.5}


def test_a_link_goes_on_to_lead_to_the_file_that_is_written(tmp_path: Path) -> None:
    link = tmp_path / "latest.json"
    link.symlink_to("of-today.json")
    ready_file(link)
    write_json(link, [1])
    assert link.is_symlink()
    assert json.loads((tmp_path / "of-today.json").read_text()) == [1]


def test_a_draft_of_the_same_name_is_left_to_whoever_writes_it(tmp_path: Path) -> None:
    draft = tmp_path / "figures.json.part"
    draft.write_text("of another command")
    ready_file(tmp_path / "figures.json")
    assert draft.read_text() == "of another command"
