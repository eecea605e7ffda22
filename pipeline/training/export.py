"""A bundle's networks as ONNX or OpenVINO graphs, and the proof that they say the same as torch."""

import logging
import shutil
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.detectors.base import Detector, Prediction
from pipeline.detectors.bundle import BundleInfo, copy_bundle, read_info
from pipeline.detectors.registry import load_detector
from pipeline.detectors.runtimes import (
    EXPORT,
    Export,
    Graph,
    GraphRuntime,
    RuntimeMissingError,
    sha256_of,
    use_runtime,
)
from pipeline.errors import AndonError
from pipeline.extras import install
from pipeline.files.durable import names_to_disk, naming, to_disk, write_whole
from pipeline.training.images.data import Frame
from pipeline.training.track import Track, untracked

OPSET = 20
SCORE_TOLERANCE = 0.02
"""Of the spread of the calibration normals' scores (1 % to 99 %); where a score lies further off, of its distance from
them: a made-up frame may lie a million spreads away, and there the last digit of a score is more than all of these."""
MAP_TOLERANCE = 0.01
"""Of the range of torch's map."""
_SYNTHETIC = 8
_RECORDED = 3
"""So many frames show which axes of a network vary."""
_DRAFT = ".export"


class ExportError(AndonError):
    """A network that the exporter cannot write, or a graph that says something else than torch."""


@dataclass(frozen=True)
class Parity:
    """How far an engine is from torch, over some frames."""

    frames: int
    score: float
    """Largest difference of a score."""
    score_share: float
    """The largest as a share of the spread of the calibration normals' scores, or of the frame's distance from them."""
    map: float
    """Largest difference of a map's value."""
    map_share: float
    """The same, as a share of the range of torch's map of that frame."""
    swapped: int
    """Pairs of frames that torch ranks further apart than the tolerance, and the engine the other way round."""

    @property
    def holds(self) -> bool:
        return self.score_share <= SCORE_TOLERANCE and self.map_share <= MAP_TOLERANCE and not self.swapped


def export_bundle(
    bundle: Path, out: Path, runtime: GraphRuntime, frames: Sequence[Frame] = (), track: Track = untracked
) -> Export:
    """Writes the bundle to `out`, which may be `bundle` itself, with graphs in a folder named as the runtime.

    frames: to compare on; made-up ones beside them where the model takes any size, or there are none. Raises
    RuntimeMissingError where a package is missing; ExportError when a network cannot be exported or the engine differs
    from torch by more than the tolerance. What is in `out` stays as it is until all is proven.
    """
    versions = _versions(runtime)  # before the work and not after it
    reference = load_detector(bundle, "cpu")
    info = reference.info
    made_up = synthetic_frames(info)
    # Of a model for any size the axes of a graph are free in which made-up frames differ: those at hand may all be of
    # one size, and the next camera's of another. What it says at other sizes is compared, too.
    calls = record_calls(reference, made_up[:_RECORDED])
    of_any_size = info.input.min_side_px is not None
    frames = [*frames, *(made_up if of_any_size or not frames else [])]
    if not calls:
        raise ExportError(f"method {info.method!r} has no network to export")
    # Beside the bundle's own graphs until they are proven: whoever is killed meanwhile leaves none that a recipe takes.
    draft_of = out / _DRAFT
    shutil.rmtree(draft_of, ignore_errors=True)
    place = draft_of / runtime
    place.mkdir(parents=True)
    try:
        names = list(calls)
        shown = track(range(len(names)), "writing graphs")
        graphs = {names[at]: _write(names[at], *calls[names[at]], place, runtime) for at in shown}
        draft = Export(runtime=runtime, weights_sha256=info.weights_sha256, graphs=graphs, parity={}, versions=versions)
        write_whole(place / EXPORT, draft.model_dump_json(indent=2) + "\n")
        engine = load_detector(bundle, "cpu")
        use_runtime(engine, draft_of, runtime)
        found = compare(reference, engine, frames, track)
        if not found.holds:
            raise ExportError(
                f"the {runtime} graphs of {bundle} differ from torch: scores by {found.score:.3g} "
                f"({found.score_share:.2%} of the normals' spread; {SCORE_TOLERANCE:.0%} are allowed), maps by "
                f"{found.map_share:.2%} of their range ({MAP_TOLERANCE:.0%} are allowed), and {found.swapped} pairs of "
                "frames are ranked the other way round. Nothing was exported"
            )
        done = draft.model_copy(update={"parity": {name: float(value) for name, value in asdict(found).items()}})
        write_whole(place / EXPORT, done.model_dump_json(indent=2) + "\n")
        to_disk(*place.iterdir())
        copy_bundle(bundle, out, read_info(bundle))  # whose threshold may have been set anew meanwhile
        if (out / runtime).is_symlink() or (out / runtime).exists():
            (out / runtime).rename(draft_of / "former")
        place.rename(out / runtime)
        names_to_disk([out])
    finally:
        shutil.rmtree(draft_of, ignore_errors=True)
    return done


def _versions(runtime: GraphRuntime) -> dict[str, str]:
    packages = ("torch", "onnx", "onnxruntime" if runtime == "onnx" else "openvino")
    try:
        return {package: version(package) for package in packages}
    except ImportError as error:
        raise RuntimeMissingError(
            f"export needs the packages onnx, onnxscript and {packages[2]}: {install('runtimes')}"
        ) from error


def synthetic_frames(info: BundleInfo) -> list[Frame]:
    """Shaded, noisy frames with a dark bar, of the model's size; of other sizes, too, where it takes any."""
    random = np.random.default_rng(0)
    height, width = info.input.height_px, info.input.width_px
    sizes = [(height, width)] * _SYNTHETIC
    least = info.input.min_side_px
    if least is not None:
        sizes[1:4] = [(least, least + 37), (least + 21, least), (height, least)]
    frames = []
    for rows, columns in sizes:
        shade = random.uniform(60, 180) + 40 * np.sin(np.linspace(0, random.uniform(1, 6), columns))
        pixels = shade + random.normal(0, random.uniform(2, 12), (rows, columns))
        pixels[rows // 3 : rows // 3 + int(random.integers(1, 9))] -= random.uniform(0, 60)
        gray = np.clip(pixels, 0, 255).astype(np.uint8)
        frames.append(gray if info.input.mode == "gray" else np.repeat(gray[..., None], 3, axis=2))
    return frames


Calls = tuple[nn.Module, list[tuple[Tensor, ...]], bool]


def record_calls(detector: Detector, frames: Sequence[Frame]) -> dict[str, Calls]:
    """Network → itself, what it was called with for each frame, and whether it gave a single tensor."""
    seen: dict[str, list[tuple[Tensor, ...]]] = {}
    single: dict[str, bool] = {}
    handles = []
    modules: dict[str, nn.Module] = {}
    for name, (owner, attribute) in detector.networks().items():
        modules[name] = getattr(owner, attribute)

        def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Any, name: str = name) -> None:
            seen.setdefault(name, []).append(tuple(one.detach().clone() for one in inputs))
            single[name] = isinstance(output, Tensor)

        handles.append(modules[name].register_forward_hook(note))
    try:
        for frame in frames:
            detector.predict(frame[None])
    finally:
        for handle in handles:
            handle.remove()
    return {name: (modules[name], calls, single[name]) for name, calls in seen.items()}


def _write(
    name: str, module: nn.Module, calls: Sequence[tuple[Tensor, ...]], single: bool, place: Path, runtime: GraphRuntime
) -> Graph:
    graph = place / f"{name}.onnx"
    try:
        with _quiet(), torch.no_grad():
            program = torch.onnx.export(
                module.eval(),
                calls[0],
                dynamo=True,
                opset_version=OPSET,
                dynamic_shapes=_dynamic(calls),
                verbose=False,
                optimize=False,  # the engines do that themselves, in far less time
            )
            assert program is not None
            with naming(graph):
                program.save(str(graph), external_data=False)
    except ImportError as error:
        raise RuntimeMissingError(f"export needs onnx and onnxscript: {install('runtimes')}") from error
    except OSError:  # of the disk: the exporter wraps its own
        raise
    except Exception as error:  # the exporter raises many kinds, from many depths
        raise ExportError(f"network {name!r} cannot be exported: {_root_cause(error)}") from error
    if runtime == "openvino":
        _to_openvino(graph)
    files = sorted(path for path in place.iterdir() if path.stem == name and path.is_file())
    return Graph(files={path.name: sha256_of(path) for path in files}, single=single)


def _root_cause(error: BaseException) -> str:
    """In a line: the exporter wraps what went wrong in pages of advice."""
    while error.__cause__:
        error = error.__cause__
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else 'without a word'}"


def _dynamic(calls: Sequence[tuple[Tensor, ...]]) -> tuple[dict[int, Any], ...]:
    """The axes in which the recorded calls differ, for each input."""
    return tuple(
        {
            axis: torch.export.Dim.DYNAMIC
            for axis in range(inputs[0].ndim)
            if len({one.shape[axis] for one in inputs}) > 1
        }
        for inputs in zip(*calls, strict=True)
    )


def _to_openvino(graph: Path) -> None:
    """Read from ONNX by OpenVINO's own core: its converter from torch would report its use over the network."""
    try:
        import openvino
    except ImportError as error:
        raise RuntimeMissingError(f"export needs openvino: {install('runtimes')}") from error
    model = openvino.Core().read_model(str(graph))
    found = graph.with_suffix(".xml")
    try:
        openvino.save_model(model, str(found), compress_to_fp16=False)
    except RuntimeError as error:  # "iostream error" is all that a full disk gets
        raise ExportError(
            f"OpenVINO cannot write {found} ({error}). Is there room on that disk? Free some, or give another folder"
        ) from error
    graph.unlink()


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter tells every pass that it makes."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.__trace", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def compare(reference: Detector, engine: Detector, frames: Sequence[Frame], track: Track = untracked) -> Parity:
    """Both detectors on the same frames, one at a time."""
    expected, found = [], []
    for number in track(range(len(frames)), "comparing"):
        expected.append(reference.predict(frames[number][None]))
        found.append(engine.predict(frames[number][None]))
    known = reference.info.calibration.score_quantiles.values() or (0.0, 1.0)
    low, high = min(known), max(known)
    scores, others = (np.array([one.scores[0] for one in side]) for side in (expected, found))
    away = np.abs(scores - others)
    scale = np.maximum((high - low) or 1.0, np.maximum(low - scores, scores - high))
    maps = [_map_difference(one, other) for one, other in zip(expected, found, strict=True)]
    apart = scores[:, None] - scores[None, :] > SCORE_TOLERANCE * np.maximum(scale[:, None], scale[None, :])
    return Parity(
        frames=len(frames),
        score=float(away.max()),
        score_share=float((away / scale).max()),
        map=max(away for away, _ in maps),
        map_share=max(share for _, share in maps),
        swapped=int((apart & (others[:, None] <= others[None, :])).sum()),
    )


def _map_difference(expected: Prediction, found: Prediction) -> tuple[float, float]:
    away = float(np.abs(expected.maps - found.maps).max())
    return away, away / (float(np.ptp(expected.maps)) or 1.0)
