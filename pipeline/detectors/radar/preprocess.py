"""From camera pixels to what the network sees: mode, working resolution, local contrast."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from pipeline.detectors.radar.config import RadarConfig

_DARK = 4.0
"""Gray levels added to the local mean before dividing, so that black regions do not blow sensor noise up."""


def to_images(batch: NDArray[np.uint8], channels: int) -> Tensor:
    """(N, H, W) or (N, H, W, 3) uint8 → (N, channels, H, W) float32 in gray levels 0–255, channels 1 (luma) or 3."""
    check_batch(batch)
    if batch.ndim == 4 and channels == 1:
        batch = _luma(batch)
    images = torch.from_numpy(np.array(batch, order="C")).float()
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


def normalise(images: Tensor, config: RadarConfig) -> Tensor:
    """(N, C, H, W) gray levels → (N, C, ceil(H / scale), ceil(W / scale)) with normals at about unit variance.

    With `contrast_px` a pixel becomes its relative difference from the local mean. Exposure and slow shading, which
    differ from part to part, cancel out; a crack, which absorbs a share of the light, keeps its contrast.
    """
    if config.scale > 1:
        images = functional.avg_pool2d(images, config.scale, ceil_mode=True)
    if config.contrast_px:
        mean = box_mean(images, config.contrast_px)
        images = (images - mean) / (mean + _DARK)
    else:
        images = images / 127.5 - 1.0
    return images * config.gain


def box_mean(images: Tensor, window_px: int) -> Tensor:
    """Mean over a square window; at the border over the part of the window inside the image."""
    if window_px == 1:
        return images
    reach = window_px // 2
    rows = functional.avg_pool2d(images, (window_px, 1), stride=1, padding=(reach, 0), count_include_pad=False)
    return functional.avg_pool2d(rows, (1, window_px), stride=1, padding=(0, reach), count_include_pad=False)


def pad_to_stride(images: Tensor, stride_px: int) -> Tensor:
    """Repeats the last row and column until both sides are multiples of the stride. Crop the result to undo."""
    height, width = images.shape[-2:]
    return functional.pad(images, (0, -width % stride_px, 0, -height % stride_px), mode="replicate")
