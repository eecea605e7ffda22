"""A batch of any length as passes of one length.

Kernels that libraries pick by batch size then stay the same, and what is said of a frame does not depend on how many
frames arrived with it.
"""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

_FRAMES_ON_A_CPU = 1
_FRAMES_ELSEWHERE, _PIXELS_ELSEWHERE = 8, 4 * 1024 * 1024
"""A pass is filled up even for one frame. Of large ones 8 take 8 times the time and the memory, for nothing: of 20
megapixels each they would fill any GPU."""


def passes(batch: NDArray[np.uint8], device: torch.device) -> Iterator[tuple[NDArray[np.uint8], int]]:
    """(N, H, W[, 3]) → the frames of each pass, and how many of them are the batch's: the last frame fills the rest.
    Frames of one size always have passes of one length."""
    fit = _PIXELS_ELSEWHERE // max(1, batch.shape[1] * batch.shape[2])
    length = _FRAMES_ON_A_CPU if device.type == "cpu" else max(1, min(_FRAMES_ELSEWHERE, fit))
    for start in range(0, len(batch), length):
        frames = batch[start : start + length]
        missing = length - len(frames)
        yield np.concatenate([frames, np.repeat(frames[-1:], missing, axis=0)]) if missing else frames, len(frames)
