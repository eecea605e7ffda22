"""`--help`, in terminals of any width."""

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
    text = [line.strip() for line in capsys.readouterr().out.partition("╭")[0].splitlines()]
    for line, following in pairwise(text):
        if line and following:
            assert len(f" {line} {following.split()[0]} ") > columns, f"{following!r} begins too late"
