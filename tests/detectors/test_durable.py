"""What a power cut may not take: nothing gets its name before what it holds is on the disk."""

import os
from pathlib import Path

import pytest
import torch

from pipeline.detectors.bundle import read_info, save_bundle
from pipeline.detectors.null import make_null_bundle
from pipeline.files.durable import growing, write_whole
from pipeline.training.checkpoint import Progress, save_checkpoint

pytestmark = pytest.mark.unit


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that were given their names; the test fails where one was not on the disk by then."""
    kept: set[int] = set()
    found: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def seen(opened: int) -> None:
        kept.add(os.fstat(opened).st_ino)
        fsync(opened)

    def checked(draft: Path, name: Path) -> Path:
        assert draft.stat().st_ino in kept, f"{draft} may be empty after a power cut"
        found.append(name.name)
        return replace(draft, name)

    monkeypatch.setattr(os, "fsync", seen)
    monkeypatch.setattr(Path, "replace", checked)
    return found


def test_a_bundle_is_on_the_disk_before_it_has_its_name(tmp_path: Path, named: list[str]) -> None:
    make_null_bundle(tmp_path, 8, 8)
    save_bundle(tmp_path, read_info(tmp_path), {})
    assert named == ["model.safetensors", "bundle.json"] * 2


def test_a_checkpoint_is_on_the_disk_before_the_one_before_it_goes(tmp_path: Path, named: list[str]) -> None:
    save_checkpoint(tmp_path, Progress("run", 1, 0.0, 0.5), {"network": {"weight": torch.zeros(4)}})
    assert named == ["state.json"]


def test_figures_are_on_the_disk_before_they_have_their_name(tmp_path: Path, named: list[str]) -> None:
    write_whole(tmp_path / "figures.json", "{}")
    with growing(tmp_path / "results.csv") as rows:
        rows.write("file,score\n")
    assert named == ["figures.json", "results.csv"]
