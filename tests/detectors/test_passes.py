"""Every frame is in one pass, and all passes are of one length."""

import numpy as np
import pytest
import torch

from pipeline.detectors.passes import passes

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("count", [0, 1, 8, 19])
def test_every_frame_once_and_passes_of_one_length(count: int, device: str) -> None:
    batch = np.arange(count, dtype=np.uint8)[:, None, None].repeat(4, axis=2)
    found = list(passes(batch, torch.device(device)))
    assert len({len(frames) for frames, _ in found}) <= 1
    assert [int(frame[0, 0]) for frames, own in found for frame in frames[:own]] == list(range(count))
    assert all((frames[own:] == frames[own - 1]).all() for frames, own in found)
