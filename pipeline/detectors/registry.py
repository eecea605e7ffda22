"""From a bundle's method name to the code that scores with it."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.detectors.base import Detector, Runtime
from pipeline.detectors.bundle import BundleError, BundleInfo, load_bundle
from pipeline.errors import AndonError

if TYPE_CHECKING:
    import torch


Tensors = Mapping[str, NDArray[Any]]


def _null(info: BundleInfo, tensors: Tensors, device: str) -> Detector:
    from pipeline.detectors.null import NullDetector

    return NullDetector(info)


def _radar(info: BundleInfo, tensors: Tensors, device: str) -> Detector:
    from pipeline.detectors.radar.detector import from_bundle

    return from_bundle(info, tensors, torch_device(device))


def _cflow(info: BundleInfo, tensors: Tensors, device: str) -> Detector:
    from pipeline.detectors.cflow.detector import from_bundle

    return from_bundle(info, tensors, torch_device(device))


_BUILDERS: Mapping[str, Callable[[BundleInfo, Tensors, str], Detector]] = {
    "null": _null,
    "radar": _radar,
    "cflow": _cflow,
}
METHODS = tuple(_BUILDERS)
CUDA_GRAPHS = "ANDON_CUDA_GRAPHS"
"""0 in this variable leaves every kernel on a GPU to be asked for by itself: for who looks for a fault."""
_KINDS = ("cpu", "cuda")
_MOST_TRIED_PX, _MID_GRAY = 512, 128
_MOST_TOLD = 300
"""Letters."""


def load_detector(folder: Path, device: str = "auto", runtime: Runtime = "torch") -> Detector:
    """Reads a bundle and builds its detector.

    device: 'auto' (a GPU when there is one), 'cpu', 'cuda' or 'cuda:1'. Other runtimes than torch run on the CPU.
    Raises BundleError when the bundle is incomplete, damaged, of an unknown method or version, or cannot score a frame;
    RuntimeMissingError when it was not exported for the runtime, or the runtime is not installed.
    """
    if runtime != "torch" and device not in ("auto", "cpu"):
        raise BundleError(f"runtime {runtime!r} runs on the CPU, not on {device}: leave out the runtime or the device")
    info, tensors = load_bundle(folder)
    if info.method not in _BUILDERS:
        raise BundleError(f"bundle {folder} is of method {info.method!r}; this program knows {', '.join(METHODS)}")
    try:
        detector = _BUILDERS[info.method](info, tensors, device if runtime == "torch" else "cpu")
    except BundleError as error:
        raise BundleError(f"cannot use bundle {folder}: {error}") from error
    except Exception as error:  # numpy, pydantic and torch raise many kinds, and torch lists every tensor in pages
        why = f"{type(error).__name__}: {' '.join(str(error).split())[:_MOST_TOLD]}"
        if _is_of_the_device(error):
            raise BundleError(f"bundle {folder} can't be loaded on {device} ({why}): look who else fills it") from error
        raise BundleError(
            f"bundle {folder} does not hold a whole {info.method} model ({why}): its manifest and its weights do not "
            "fit each other. Copy the bundle again, or train it again"
        ) from error
    _try_out(detector, folder)  # in torch, whose networks take frames of any size; an engine's graphs may not
    if runtime == "torch":
        _replay_on_a_gpu(detector, device)
    else:
        from pipeline.detectors.runtimes import use_runtime

        use_runtime(detector, folder, runtime)
    return detector


def _is_of_the_device(error: Exception) -> bool:
    """torch says of a processor's memory in words alone that there is none left."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return any(words in str(error) for words in ("CUDA", "can't allocate memory"))


def _replay_on_a_gpu(detector: Detector, device: str) -> None:
    if detector.networks() and torch_device(device).type == "cuda" and os.environ.get(CUDA_GRAPHS) != "0":
        from pipeline.detectors.replay import replay_networks

        replay_networks(detector)


def _try_out(detector: Detector, folder: Path) -> None:
    """One small frame of a kind that the bundle says it judges. What breaks on it would break on every frame of the
    stream, long after whoever edited the bundle has left."""
    spec = detector.info.input
    side = min(spec.min_side_px or min(spec.height_px, spec.width_px), _MOST_TRIED_PX)
    try:
        detector.predict(np.full((1, side, side), _MID_GRAY, dtype=np.uint8))
    except Exception as error:  # numpy and torch raise many kinds
        what = f"bundle {folder} cannot score a frame of {side} × {side} px ({type(error).__name__}: {error})"
        if _is_of_the_device(error):
            raise BundleError(f"{what}: look who else fills the device") from error
        raise BundleError(
            f"{what}: its manifest and its weights do not fit each other. Copy the bundle again, or train it again"
        ) from error


def torch_device(name: str) -> "torch.device":
    """'auto' → the GPU when there is one, else the CPU; else 'cpu', 'cuda' or 'cuda:1'. Products on a GPU are taken in
    single precision from here on.

    Raises AndonError when there is no such device, or it is of a kind that nobody has tried.
    """
    import torch

    # Left alone, cuDNN rounds the inputs of convolutions to TF32's 10 bits, and scores move from machine to machine.
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        if device.type not in _KINDS:  # torch knows many, with words of a page where they are missing
            raise RuntimeError(f"{' and '.join(_KINDS)} are the kinds that detectors run on")
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        why = str(error).splitlines()[0]
        raise AndonError(
            f"there is no device {name!r} here ({why}): take auto, cpu, or cuda where there is a GPU"
        ) from error
    return device
