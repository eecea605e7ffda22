"""What a detector must beat to be worth its network: three numbers computed from the raw frame alone."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

Baseline = Callable[[NDArray[np.uint8]], float]


def sobel_energy(gray: NDArray[np.uint8]) -> float:
    """(H, W) → mean squared Sobel magnitude of the raw frame."""
    x = gray.astype(np.float64)
    across = x[:, 2:] - x[:, :-2]
    down = x[2:, :] - x[:-2, :]
    gx = (across[:-2] + 2 * across[1:-1] + across[2:]) / 8
    gy = (down[:, :-2] + 2 * down[:, 1:-1] + down[:, 2:]) / 8
    return float(np.mean(gx**2 + gy**2))


def gradient_energy(gray: NDArray[np.uint8]) -> float:
    """(H, W) → mean squared difference of neighbouring pixels."""
    x = gray.astype(np.float64)
    return float(np.mean(np.diff(x, axis=0) ** 2) + np.mean(np.diff(x, axis=1) ** 2))


def darkness(gray: NDArray[np.uint8]) -> float:
    """(H, W) → 255 − mean gray level. Defects of solar cells are dark, so this is the trivial guess."""
    return 255.0 - float(gray.mean())


BASELINES: Mapping[str, Baseline] = {
    "Sobel energy of the raw image": sobel_energy,
    "gradient energy of the raw image": gradient_energy,
    "darkness (255 − mean gray level)": darkness,
}
