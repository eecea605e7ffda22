"""From a bundle's method name to the code that scores with it."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.detectors.base import Detector
from pipeline.detectors.bundle import BundleError, load_bundle

if TYPE_CHECKING:
    import torch


def _load_null(folder: Path, device: str) -> Detector:
    from pipeline.detectors.null import from_bundle

    info, _ = load_bundle(folder)
    return from_bundle(info)


def _load_radar(folder: Path, device: str) -> Detector:
    from pipeline.detectors.radar.detector import from_bundle

    info, tensors = load_bundle(folder)
    return from_bundle(info, tensors, torch_device(device), folder)


_LOADERS: dict[str, Callable[[Path, str], Detector]] = {"null": _load_null, "radar": _load_radar}
METHODS = tuple(_LOADERS)


def load_detector(folder: Path, device: str = "auto") -> Detector:
    """Reads a bundle and builds its detector.

    device: 'auto' (a GPU when there is one), 'cpu', 'cuda' or 'cuda:1'.
    Raises BundleError when the bundle is incomplete, damaged, or of an unknown method or version.
    """
    from pipeline.detectors.bundle import read_info

    method = read_info(folder).method
    if method not in _LOADERS:
        raise BundleError(f"bundle {folder} is of method {method!r}; this program knows {', '.join(METHODS)}")
    return _LOADERS[method](folder, device)


def torch_device(name: str) -> "torch.device":
    """'auto' → the GPU when there is one, else the CPU; other names as torch reads them."""
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)
