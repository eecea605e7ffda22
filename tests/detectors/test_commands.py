"""`andon train` and `andon evaluate` as a person meets them."""

import json
import sys
from pathlib import Path

import pytest
from detectors.conftest import normal_frames, write_images

from workers.cli import main

pytestmark = pytest.mark.unit


def andon(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """Runs the command in this process: a new one would spend its time importing torch. Returns the exit code."""
    monkeypatch.setattr(sys, "argv", ["andon", *map(str, arguments)])
    with pytest.raises(SystemExit) as exit_info:
        main()
    return int(exit_info.value.code or 0)


def test_evaluate_writes_figures_and_card(
    bundles: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_images(tmp_path / "train" / "good", normal_frames(1))
    write_images(tmp_path / "test" / "good", normal_frames(4, seed=1))
    write_images(tmp_path / "test" / "hole", normal_frames(3, seed=2) // 2)
    figures = tmp_path / "figures.json"
    assert andon(monkeypatch, "evaluate", bundles["null"], "--data", tmp_path, "--json", figures, "--card") == 0
    assert json.loads(figures.read_text())["defective"] == 3
    assert (bundles["null"] / "README.md").read_text().startswith("# null")


def test_a_user_error_is_a_sentence_and_exit_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert andon(monkeypatch, "train", "radar", "--data", tmp_path / "nowhere", "--out", tmp_path / "out") == 2
    assert "there is no folder" in capsys.readouterr().err
