"""What a power cut may not take: nothing gets its name before what it holds is on the disk."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from pipeline.detectors.bundle import read_info, save_bundle
from pipeline.detectors.null import make_null_bundle
from pipeline.files.durable import draft_of, growing, write_or_remove, write_whole
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
    assert named == ["1-state.safetensors", "state.json"]


def test_figures_are_on_the_disk_before_they_have_their_name(tmp_path: Path, named: list[str]) -> None:
    write_whole(tmp_path / "figures.json", "{}")
    with growing(tmp_path / "results.csv") as rows:
        rows.write("file,score\n")
    assert named == ["figures.json", "results.csv"]


def grow(path: Path) -> None:
    with growing(path) as rows:
        rows.write("file,score\n")


WRITERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "figures": ("figures.json.part", lambda folder: write_whole(folder / "figures.json", "{}")),
    "rows": ("results.csv.part", lambda folder: grow(folder / "results.csv")),
    "a picture": ("000.png", lambda folder: write_or_remove(folder / "000.png", b"\x89PNG")),
    "a bundle": ("bundle.json.part", lambda folder: make_null_bundle(folder, 8, 8)),
    "a checkpoint": (
        "1-state.safetensors.part",
        lambda folder: save_checkpoint(folder, Progress("run", 1, 0.0, 0.5), {}),
    ),
}


@pytest.mark.parametrize("writer", WRITERS)
def test_a_full_disk_is_told_with_the_file_that_does_not_fit(writer: str, tmp_path: Path) -> None:
    file, write = WRITERS[writer]
    (tmp_path / file).symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left") as told:
        write(tmp_path)
    assert told.value.filename == str(tmp_path / file)
    assert writer == "rows" or not (tmp_path / file).is_symlink(), "a half is left"


def test_a_pipe_that_nobody_reads_to_its_end_is_left_where_it_was(tmp_path: Path) -> None:
    """`andon map --out /dev/full`, as root, took the device away from the whole machine."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: pipe.open("rb").close())
    reader.start()
    with pytest.raises(BrokenPipeError):
        write_or_remove(pipe, b"0" * (1 << 20))
    reader.join()
    assert pipe.is_fifo()


def test_a_draft_that_was_left_lends_no_file_its_rights(tmp_path: Path) -> None:
    """A users file for its owner alone came out for everybody to read, after a process was killed amid an older one."""
    file = tmp_path / "users.json"
    draft_of(file).write_text("half of it")
    draft_of(file).chmod(0o644)
    write_whole(file, "{}", mode=0o600)
    assert file.stat().st_mode & 0o777 == 0o600
