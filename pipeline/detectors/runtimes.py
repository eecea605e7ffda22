"""Other engines than torch for the networks of a detector: ONNX Runtime and OpenVINO, on the CPU.

A detector names its networks and where they sit (`Detector.networks`). Export writes each as a graph below the bundle;
loading puts an engine that runs the graph in the network's place. Everything around the networks stays as it is, so
all engines share preprocessing, map, features and judgement.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from pipeline.detectors.base import Detector
from pipeline.detectors.bundle import BundleError, BundleInfo
from pipeline.errors import AndonError
from pipeline.extras import install

GraphRuntime = Literal["onnx", "openvino"]
EXPORT = "export.json"
SUFFIXES: Final[Mapping[GraphRuntime, tuple[str, ...]]] = {"onnx": (".onnx",), "openvino": (".xml", ".bin")}
"""Of a graph's files. The engine is given the first, and finds the other beside it."""
_PACKAGE: Final[Mapping[str, str]] = {"onnx": "onnxruntime", "openvino": "openvino"}

Arrays = list[NDArray[np.float32]]


class RuntimeMissingError(AndonError):
    """The engine that a recipe or a command names is not installed, or the bundle was not exported for it."""


class Graph(BaseModel):
    """One network."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    files: Mapping[str, str]
    """Name → SHA-256."""
    single: bool
    """Whether the network gives one tensor, not a list."""


class Export(BaseModel):
    """export.json, beside the graphs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    runtime: GraphRuntime
    weights_sha256: str
    """Of the bundle whose networks these are. A new threshold leaves them valid; new weights do not."""
    graphs: Mapping[str, Graph]
    """By network."""
    parity: Mapping[str, float]
    """How far scores and maps were from torch's when it was written."""
    versions: Mapping[str, str]


class Engine(nn.Module):
    """A graph in the place of a network: the same tensors in, the same tensors out."""

    def __init__(self, run: Callable[[Sequence[NDArray[Any]]], Arrays], single: bool) -> None:
        super().__init__()
        self._run = run
        self._single = single
        # Some ask a network's parameters where it runs.
        self.place = nn.Parameter(torch.zeros(0), requires_grad=False)

    def forward(self, *inputs: Tensor) -> Tensor | list[Tensor]:
        found = [torch.from_numpy(array) for array in self._run([tensor.contiguous().numpy() for tensor in inputs])]
        return found[0] if self._single else found


def open_graph(path: Path, runtime: GraphRuntime, single: bool) -> Engine:
    """Raises RuntimeMissingError, or BundleError for a graph that the engine cannot open."""
    threads = torch.get_num_threads()
    try:
        run = _onnx(path, threads) if runtime == "onnx" else _openvino(path, threads)
    except ImportError as error:
        raise RuntimeMissingError(
            f"runtime {runtime!r} needs the package {_PACKAGE[runtime]}: {install('runtimes')}"
        ) from error
    except Exception as error:  # each engine has kinds of its own
        raise BundleError(
            f"{_PACKAGE[runtime]} cannot open {path}, which is damaged or of another release: export the bundle again "
            f"with the packages that are to run it ({next(iter(str(error).splitlines()), type(error).__name__)})"
        ) from error
    return Engine(run, single)


def _onnx(path: Path, threads: int) -> Callable[[Sequence[NDArray[Any]]], Arrays]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Idle threads that spin would take the cores from whoever decodes the next frames.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    # A pattern plans one more block for each new size of frame, beside the blocks of the first look at it: of 12
    # megapixels 11 GB in place of 7, and no less time.
    options.enable_mem_pattern = False
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_inputs()]

    def run(inputs: Sequence[NDArray[Any]]) -> Arrays:
        found: Arrays = session.run(None, dict(zip(names, inputs, strict=False)))
        return found

    return run


def _openvino(path: Path, threads: int) -> Callable[[Sequence[NDArray[Any]]], Arrays]:
    import openvino

    # Single precision by name: by default OpenVINO rounds to bfloat16 where the processor can, and scores move.
    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
        # Else it reads on in the file, and whoever copies another bundle over this one changes the running model.
        "ENABLE_MMAP": False,
    }
    model = openvino.Core().compile_model(str(path), "CPU", settings)
    count = len(model.inputs)
    # A request holds one frame's tensors. The stream, a shadow and whoever posts an image may look through one network
    # at once, so each takes an idle request, and none waits for another. As many stay as ever ran at once.
    idle = [model.create_infer_request()]

    def run(inputs: Sequence[NDArray[Any]]) -> Arrays:
        try:
            request = idle.pop()
        except IndexError:
            request = model.create_infer_request()
        try:
            found = request.infer(list(inputs)[:count], share_inputs=True, share_outputs=False)
            return [np.array(value) for value in found.values()]
        finally:
            idle.append(request)

    return run


def use_runtime(detector: Detector, folder: Path, runtime: GraphRuntime) -> None:
    """Puts the engines of the bundle at `folder` in the place of the detector's networks.

    Raises RuntimeMissingError when the bundle was not exported or the package is missing, BundleError when the export
    is damaged or of other weights.
    """
    slots = detector.networks()
    if not slots:
        return
    graphs = check_graphs(detector, folder, runtime)
    for name, (owner, attribute) in slots.items():
        path = folder / runtime / (name + SUFFIXES[runtime][0])
        setattr(owner, attribute, open_graph(path, runtime, graphs[name].single))


def check_graphs(detector: Detector, folder: Path, runtime: GraphRuntime) -> Mapping[str, Graph]:
    """Network → graph, of all that the detector has. Opens none: no engine has to be installed. Raises
    RuntimeMissingError where the bundle was not exported for the runtime, BundleError for graphs that are missing,
    damaged or of other weights."""
    place = folder / runtime
    export = read_export(place, detector.info, runtime, folder)
    for name in detector.networks():
        if name not in export.graphs:
            raise BundleError(f"{place} holds no graph of network {name!r}: export the bundle again")
        _check_graph(name, export.graphs[name], place, runtime)
    return export.graphs


def _check_graph(name: str, graph: Graph, place: Path, runtime: GraphRuntime) -> None:
    if graph.files.keys() != {name + suffix for suffix in SUFFIXES[runtime]}:
        # What it does not name would be opened unchecked, and what it names may lie outside of the bundle.
        raise BundleError(f"{place / EXPORT} names other files than those of network {name!r}: export it again")
    for file, expected in graph.files.items():
        if sha256_of(place / file) != expected:
            raise BundleError(f"{place / file} is damaged or missing: export the bundle again")


def read_export(place: Path, info: BundleInfo, runtime: str, folder: Path) -> Export:
    """Raises RuntimeMissingError or BundleError."""
    try:
        export = Export.model_validate_json((place / EXPORT).read_bytes())
    except FileNotFoundError as error:
        raise RuntimeMissingError(
            f"bundle {folder} was not exported for runtime {runtime!r}: run `andon export {folder} --to {runtime}`, "
            "or leave out the runtime"
        ) from error
    except ValueError as error:
        raise BundleError(f"{place / EXPORT} does not describe an export: {error}") from error
    if export.weights_sha256 != info.weights_sha256:
        raise BundleError(f"{place} was exported from other weights: run `andon export {folder} --to {runtime}` again")
    return export


def sha256_of(path: Path) -> str:
    """Empty where there is no such file. A device or a pipe, which may have no end, is none."""
    try:
        if not path.is_file():
            return ""
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""
