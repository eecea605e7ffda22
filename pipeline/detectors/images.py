"""From a batch of camera frames to tensors of the mode that a model was trained on."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_CPU = torch.device("cpu")


def to_images(batch: NDArray[np.uint8], channels: int, device: torch.device = _CPU) -> Tensor:
    """(N, H, W) or (N, H, W, 3) uint8 → (N, channels, H, W) float32 in gray levels 0–255, channels 1 (luma) or 3."""
    check_batch(batch)
    if batch.ndim == 4 and channels == 1:
        batch = _luma(batch)
    # Bytes travel to the device: as floats they would be four times as many.
    images = torch.from_numpy(np.array(batch, order="C")).to(device).float()
    if images.ndim == 4:
        return images.permute(0, 3, 1, 2)
    return images.unsqueeze(1).expand(-1, channels, -1, -1)


def check_batch(batch: NDArray[np.uint8]) -> None:
    """Raises ValueError unless the batch is what `Detector.predict` takes."""
    if batch.dtype != np.uint8 or batch.ndim not in (3, 4) or (batch.ndim == 4 and batch.shape[3] != 3):
        raise ValueError(f"frames must be (N, H, W) or (N, H, W, 3) of uint8, not {batch.shape} of {batch.dtype}")


def _luma(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """ITU-R 601 luma in Pillow's own fixed point, so that gray stored as RGB scores exactly as gray."""
    weighted = rgb.astype(np.uint32) @ np.array([19595, 38470, 7471], dtype=np.uint32)
    return ((weighted + 0x8000) >> 16).astype(np.uint8)
