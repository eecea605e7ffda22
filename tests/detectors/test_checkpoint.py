"""The state of a training on disk."""

from pathlib import Path

import pytest
import torch
from support.disk import files_of_at_most

from pipeline.training.checkpoint import Progress, load_checkpoint, save_checkpoint

pytestmark = pytest.mark.unit


def state(count: int) -> dict[str, dict[str, torch.Tensor]]:
    return {"network": {"weight": torch.zeros(count)}}


def test_a_full_disk_is_told_with_its_file_and_costs_no_earlier_state(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, Progress("run", 1, 0.0, 0.5), state(10))
    with files_of_at_most(50_000), pytest.raises(OSError, match=r"2-state\.safetensors"):
        save_checkpoint(tmp_path, Progress("run", 2, 0.0, 0.5), state(100_000))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["1-state.safetensors", "state.json"]
    found = load_checkpoint(tmp_path, "run")
    assert found
    assert found[0].step == 1


def test_who_goes_on_from_a_finished_training_does_not_lose_it_while_it_is_saved_again(tmp_path: Path) -> None:
    """The step is the same, and so was the file: a full disk or a kill took the whole training with it."""
    save_checkpoint(tmp_path, Progress("run", 300, 0.0, 0.5), state(100_000))
    with files_of_at_most(50_000), pytest.raises(OSError, match="300-state"):
        save_checkpoint(tmp_path, Progress("run", 300, 0.0, 0.5), state(100_000))
    found = load_checkpoint(tmp_path, "run")
    assert found
    assert found[0].step == 300


def test_a_draft_that_a_kill_left_goes_with_the_next_state(tmp_path: Path) -> None:
    (tmp_path / "2-state.safetensors.part").touch()
    save_checkpoint(tmp_path, Progress("run", 3, 0.0, 0.5), state(10))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["3-state.safetensors", "state.json"]
