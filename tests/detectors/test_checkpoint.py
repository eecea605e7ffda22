"""The state of a training on disk."""

import resource
from pathlib import Path

import pytest
import torch

from pipeline.training.checkpoint import Progress, load_checkpoint, save_checkpoint

pytestmark = pytest.mark.unit


def test_a_full_disk_is_told_with_its_file_and_costs_no_earlier_state(tmp_path: Path) -> None:
    """A limit on the size of files ends a write as a full disk does: half way."""
    small, large = ({"network": {"weight": torch.zeros(count)}} for count in (10, 100_000))
    save_checkpoint(tmp_path, Progress("run", 1, 0.0, 0.5), small)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        with pytest.raises(OSError, match=r"2-state\.safetensors"):
            save_checkpoint(tmp_path, Progress("run", 2, 0.0, 0.5), large)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["1-state.safetensors", "state.json"]
    found = load_checkpoint(tmp_path, "run")
    assert found
    assert found[0].step == 1
