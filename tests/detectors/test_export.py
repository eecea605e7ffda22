"""Other engines say what torch says, or the export refuses; a recipe runs them."""

import errno
import json
import os
import re
import resource
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from detectors.conftest import assert_each_thread_gets_its_own, normal_frames
from numpy.testing import assert_allclose, assert_array_equal
from torch import Tensor, nn
from typer import Exit

from pipeline.detectors.bundle import BundleError, load_bundle, read_info, save_bundle
from pipeline.detectors.registry import load_detector
from pipeline.detectors.runtimes import (
    EXPORT,
    SUFFIXES,
    Engine,
    Export,
    Graph,
    GraphRuntime,
    RuntimeMissingError,
    open_graph,
)
from pipeline.replica.recipes import Recipe, load_catalog
from pipeline.training import export as export_module
from pipeline.training.export import ExportError, Parity, compare, export_bundle, synthetic_frames
from workers.commands.bundle import check

pytestmark = [pytest.mark.unit, pytest.mark.timeout(600)]
pytest.importorskip("onnxruntime")
pytest.importorskip("openvino")

CASES = (
    ("radar in wavelets", "onnx"),
    ("radar in pixels", "openvino"),
    pytest.param("radar in features", "onnx", marks=pytest.mark.slow),
    pytest.param("radar in wavelets", "openvino", marks=pytest.mark.slow),
    ("cflow", "onnx"),
)
"""Not every pair: the exporter takes many seconds for each, most for the encoder behind features. Its first two levels
are CFLOW's here, and its noise predictor is that behind wavelets."""


@pytest.fixture(scope="module")
def while_compared() -> dict[Path, bool]:
    """Exported bundle → whether its graphs lay in it while they were compared."""
    return {}


@pytest.fixture(scope="module")
def exported(
    tmp_path_factory: pytest.TempPathFactory, bundles: dict[str, Path], while_compared: dict[Path, bool]
) -> Callable[[str, GraphRuntime], Path]:
    """A method's bundle, exported once."""
    folder, done = tmp_path_factory.mktemp("exported"), {}

    def of(method: str, runtime: GraphRuntime) -> Path:
        if (method, runtime) not in done:
            place = folder / f"{method} {runtime}"

            def watched(*given: Any) -> Parity:
                while_compared[place] = (place / runtime).exists()
                return compare(*given)

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(export_module, "compare", watched)
                export_bundle(bundles[method], place, runtime)
            done[method, runtime] = place
        return done[method, runtime]

    return of


def assert_alike(folder: Path, runtime: GraphRuntime, sizes: Sequence[tuple[int, int]]) -> None:
    torches, engine = load_detector(folder, "cpu"), load_detector(folder, "cpu", runtime)
    assert all(isinstance(getattr(owner, at), Engine) for owner, at in engine.networks().values())
    for height, width in sizes:
        frames = normal_frames(2, height, width, seed=height)
        expected, found = torches.predict(frames), engine.predict(frames)
        assert_allclose(found.maps, expected.maps, atol=2e-2 * np.ptp(expected.maps))
        assert_array_equal(found.scores, engine.predict(frames[::-1]).scores[::-1])
        for name, values in expected.features.items():
            assert_allclose(found.features[name], values, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize(("method", "runtime"), CASES)
def test_an_engine_scores_as_torch_does(
    method: str, runtime: GraphRuntime, exported: Callable[[str, GraphRuntime], Path]
) -> None:
    assert_alike(exported(method, runtime), runtime, [(48, 56)])


@pytest.mark.parametrize(("method", "runtime"), CASES)
def test_who_looks_at_once_through_an_engine_sees_own_frames(
    method: str, runtime: GraphRuntime, exported: Callable[[str, GraphRuntime], Path]
) -> None:
    """The stream and a posted image do: OpenVINO's requests hold one frame each, and one was shared."""
    assert_each_thread_gets_its_own(load_detector(exported(method, runtime), "cpu", runtime))


@pytest.mark.parametrize(("method", "runtime"), CASES)
def test_a_bundle_that_is_copied_over_changes_no_running_model(
    method: str, runtime: GraphRuntime, exported: Callable[[str, GraphRuntime], Path], tmp_path: Path
) -> None:
    """OpenVINO read on in the file: scores of other weights went out under the old model's hash."""
    folder = tmp_path / "bundle"
    shutil.copytree(exported(method, runtime), folder)
    engine, frames = load_detector(folder, "cpu", runtime), normal_frames(2)
    before = engine.predict(frames)
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        with path.open("r+b") as file:
            file.write(b"\x55" * path.stat().st_size)
    assert_array_equal(engine.predict(frames).scores, before.scores)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("method", ["radar in pixels", "radar in features", "radar in wavelets", "cflow"])
def test_graphs_take_any_size_where_the_bundle_does(method: str, bundles: dict[str, Path], tmp_path: Path) -> None:
    """Slow: the exporter reasons about sizes for a minute. The frames to compare on are all of one size."""
    info, tensors = load_bundle(bundles[method])
    any_size = info.input.model_copy(update={"min_side_px": 32})
    save_bundle(tmp_path, info.model_copy(update={"input": any_size}), tensors)
    export_bundle(tmp_path, tmp_path, "onnx", list(normal_frames(4)))
    assert_alike(tmp_path, "onnx", [(48, 56), (33, 100), (64, 32)])


def test_a_recipe_names_the_engine_and_a_replica_keeps_both_apart(
    exported: Callable[[str, GraphRuntime], Path],
) -> None:
    folder = str(exported("radar in wavelets", "onnx"))
    recipes = {
        "plain": Recipe(bundle=folder, cameras=("*",)),
        "quick": Recipe(bundle=folder, cameras=("*",), runtime="onnx"),
    }
    catalog = load_catalog(recipes, "cpu")
    plain, quick = (catalog.recipes[name].detector for name in ("plain", "quick"))
    assert [isinstance(getattr(*one.networks()["encoder"]), Engine) for one in (plain, quick)] == [False, True]
    again = load_catalog(recipes, "cpu", catalog)
    assert again.recipes["quick"].detector is quick
    assert again.recipes["plain"].detector is plain


def test_a_bundle_without_graphs_says_how_to_make_them(bundles: dict[str, Path]) -> None:
    with pytest.raises(RuntimeMissingError, match=r"andon export .* --to openvino"):
        load_detector(bundles["radar in pixels"], "cpu", "openvino")
    with pytest.raises(BundleError, match="runs on the CPU"):
        load_detector(bundles["radar in pixels"], "cuda", "onnx")


def test_damaged_graphs_and_graphs_of_other_weights_are_refused(
    exported: Callable[[str, GraphRuntime], Path], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(exported("radar in wavelets", "onnx"), tmp_path / "copy"))
    graph = folder / "onnx" / "noise.onnx"
    graph.write_bytes(graph.read_bytes() + b"x")
    with pytest.raises(BundleError, match="is damaged"):
        load_detector(folder, "cpu", "onnx")
    graph.unlink()
    os.mkfifo(graph)  # who reads it reads on for ever
    with pytest.raises(BundleError, match="is damaged"):
        load_detector(folder, "cpu", "onnx")
    manifest = folder / "onnx" / EXPORT
    manifest.write_text(manifest.read_text().replace(load_bundle(folder)[0].weights_sha256, "0" * 64))
    with pytest.raises(BundleError, match="other weights"):
        load_detector(folder, "cpu", "onnx")


def test_a_check_looks_at_exported_graphs(
    exported: Callable[[str, GraphRuntime], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It called a bundle whole of which every replica with these graphs was to be refused."""
    folder = Path(shutil.copytree(exported("radar in features", "onnx"), tmp_path / "copy"))
    for place in (folder, tmp_path):
        check(place)
        assert capsys.readouterr().out.endswith(f"model_hash {read_info(folder).model_hash}, graphs for onnx\n")
    other = Path(shutil.copytree(folder, tmp_path / "other"))
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "bundle.json").write_text("{}")
    manifest, network = folder / "onnx" / EXPORT, folder / "onnx" / "noise.onnx"
    said = json.loads(manifest.read_text())
    said["graphs"].pop("encoder")
    for spoil, fault in (
        (lambda: manifest.write_text(json.dumps(said)), "holds no graph of network 'encoder'"),
        (lambda: network.write_bytes(b"half of it"), r"noise\.onnx is damaged or missing: export the bundle again"),
        (manifest.unlink, "was not exported for runtime 'onnx'"),
    ):
        spoil()
        with pytest.raises(Exit):
            check(tmp_path)
        broken, half, whole = capsys.readouterr().out.splitlines()
        assert broken.startswith("broken: cannot be used: ")
        model_hash = re.escape(read_info(folder).model_hash)
        assert re.search(rf"^copy: .*model_hash {model_hash}, no whole graphs for onnx: .*{fault}", half)
        assert whole.startswith(f"{other.name}: ")
        assert whole.endswith("graphs for onnx")


@pytest.mark.parametrize("named", [[], ["noise.onnx", "../../other"], ["/dev/zero"]])
def test_an_export_that_names_other_files_than_its_graphs_is_refused(
    named: list[str], exported: Callable[[str, GraphRuntime], Path], tmp_path: Path
) -> None:
    """A graph that was not named was opened without a look at its hash, and files outside of the bundle were read."""
    folder = Path(shutil.copytree(exported("radar in wavelets", "onnx"), tmp_path / "copy"))
    manifest = folder / "onnx" / EXPORT
    said = json.loads(manifest.read_text())
    files = said["graphs"]["noise"]["files"]
    said["graphs"]["noise"]["files"] = {name: files.get(name, "0" * 64) for name in named}
    manifest.write_text(json.dumps(said))
    with pytest.raises(BundleError, match="other files than those of network 'noise'"):
        load_detector(folder, "cpu", "onnx")


@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
def test_a_graph_that_the_engine_cannot_open_is_refused(runtime: GraphRuntime, tmp_path: Path) -> None:
    """Written by a newer exporter than a replica's engine knows, for instance: its hash is right."""
    path = tmp_path / f"noise{SUFFIXES[runtime][0]}"
    path.write_bytes(b"of another release")
    with pytest.raises(BundleError, match=rf"cannot open {path}.*export the bundle again"):
        open_graph(path, runtime, single=True)


def test_large_frames_take_no_more_memory_from_the_second_on(tmp_path: Path) -> None:
    """ONNX Runtime planned one more block for a size that it had seen: of 12 megapixels 11 GB in place of 7."""
    onnx = pytest.importorskip("onnx")
    tensor, make, channels = onnx.TensorProto.FLOAT, onnx.helper.make_node, 8
    ends = [onnx.helper.make_tensor_value_info(name, tensor, [1, 1, "h", "w"]) for name in ("x", "y")]
    kernel = onnx.numpy_helper.from_array(np.ones((channels, 1, 1, 1), np.float32), "kernel")
    nodes = [make("Conv", ["x", "kernel"], ["a"]), make("Sin", ["a"], ["b"]), make("Cos", ["b"], ["c"])]
    nodes.append(make("ReduceMean", ["c"], ["y"]))
    graph = onnx.helper.make_graph(nodes, "wide", ends[:1], ends[1:], [kernel])
    onnx.save(
        onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=9),
        tmp_path / "wide.onnx",
    )
    engine, frame = open_graph(tmp_path / "wide.onnx", "onnx", single=True), torch.zeros(1, 1, 1024, 1024)
    engine(frame)
    before = resident_bytes()
    for _ in range(2):
        engine(frame)
    assert resident_bytes() - before < 2 * channels * frame.nbytes  # a plan took 100 MB, and now nothing comes on top


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1]) * resource.getpagesize()


def test_an_engine_that_says_something_else_is_refused(
    bundles: dict[str, Path],
    exported: Callable[[str, GraphRuntime], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The fault is planted: the exporter is given an encoder that doubles its answer. The other graphs are there."""

    class Doubled(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, images: Tensor) -> tuple[Tensor, ...]:
            return tuple(level * 2 for level in self.inner(images))

    def with_a_fault(name: str, network: nn.Module, *given: Any) -> Graph:
        if name == "encoder":
            return write(name, Doubled(network), *given)
        shutil.copy(done / f"{name}.onnx", tmp_path / "out" / export_module._DRAFT / "onnx")
        return Export.model_validate_json((done / EXPORT).read_text()).graphs[name]

    done, write = exported("cflow", "onnx") / "onnx", export_module._write
    monkeypatch.setattr(export_module, "_write", with_a_fault)
    with pytest.raises(ExportError, match="differ from torch"):
        export_bundle(bundles["cflow"], tmp_path / "out", "onnx")
    assert not list((tmp_path / "out").iterdir())


def test_graphs_lie_in_the_bundle_only_once_they_are_proven(
    exported: Callable[[str, GraphRuntime], Path], while_compared: dict[Path, bool]
) -> None:
    """Whoever kills an export in its comparison must not leave graphs that a recipe would take."""
    out = exported("cflow", "onnx")
    assert while_compared[out] is False
    assert load_detector(out, "cpu", "onnx")
    assert {path.name for path in out.iterdir() if path.is_dir()} == {"onnx"}


def test_an_export_that_fails_leaves_the_graphs_that_are_there(
    exported: Callable[[str, GraphRuntime], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A replica that starts meanwhile, or afterwards, runs them: they are of the same weights."""
    import shutil

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    folder = Path(shutil.copytree(exported("cflow", "onnx"), tmp_path / "copy"))
    monkeypatch.setattr(export_module, "_write", full)
    with pytest.raises(OSError, match="No space left"):
        export_bundle(folder, folder, "onnx")
    assert load_detector(folder, "cpu", "onnx")
    assert {path.name for path in folder.iterdir() if path.is_dir()} == {"onnx"}


def test_an_export_that_fails_leaves_the_bundle_that_is_there(
    exported: Callable[[str, GraphRuntime], Path],
    bundles: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its graphs beside the weights of another would be refused by every recipe that names the folder."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    folder = Path(shutil.copytree(exported("cflow", "onnx"), tmp_path / "copy"))
    monkeypatch.setattr(export_module, "_write", full)
    with pytest.raises(OSError, match="No space left"):
        export_bundle(bundles["radar in features"], folder, "onnx")
    assert load_detector(folder, "cpu", "onnx").info.method == "cflow"


def test_a_missing_engine_is_told_before_anything_is_written(
    bundles: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here it is installed: the lack is planted."""

    def version(package: str) -> str:
        if package == "openvino":
            raise PackageNotFoundError(package)
        return "1"

    monkeypatch.setattr(export_module, "version", version)
    with pytest.raises(RuntimeMissingError, match="needs the packages onnx, onnxscript and openvino: pip install"):
        export_bundle(bundles["cflow"], tmp_path / "out", "openvino")
    assert not (tmp_path / "out").exists()


def test_comparison_sees_a_changed_rank(bundles: dict[str, Path]) -> None:
    detector = load_detector(bundles["null"])

    class Turned:
        info = detector.info

        def predict(self, batch: np.ndarray):  # type: ignore[no-untyped-def, type-arg]
            found = detector.predict(batch)
            return replace(found, scores=-found.scores)

    found = compare(detector, Turned(), synthetic_frames(detector.info))  # type: ignore[arg-type]
    assert found.swapped > 0
    assert not found.holds
    assert compare(detector, detector, synthetic_frames(detector.info)).holds


@pytest.mark.parametrize(("off", "holds"), [(1e4, True), (1e8, False)])
def test_far_from_the_normals_the_last_digit_of_a_score_may_differ(
    off: float, holds: bool, bundles: dict[str, Path]
) -> None:
    """CFLOW on waves of 97 × 331 px: made-up frames scored 9e8, in five digits, and normals 2 to 5."""
    detector = load_detector(bundles["cflow"], "cpu")

    class Scored:
        info = detector.info

        def __init__(self, *scores: float) -> None:
            self.scores = iter(scores)

        def predict(self, batch: np.ndarray):  # type: ignore[no-untyped-def, type-arg]
            return replace(seen, scores=np.array([next(self.scores)]))

    frames = synthetic_frames(detector.info)[:2]
    seen = detector.predict(frames[0][None])
    found = compare(Scored(9e8, 4e8), Scored(9e8 + off, 4e8), frames)  # type: ignore[arg-type]
    assert found.holds is holds


def test_a_method_without_networks_has_nothing_to_export(bundles: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="no network"):
        export_bundle(bundles["null"], tmp_path, "onnx")


def test_a_disk_that_graphs_fill_is_named(tmp_path: Path) -> None:
    """And is no fault of the network."""
    (tmp_path / "net.onnx").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left") as told:
        export_module._write("net", nn.Linear(2, 2), [(Tensor([[1, 2]]),)], True, tmp_path, "onnx")
    assert told.value.filename == str(tmp_path / "net.onnx")


def test_openvinos_word_for_a_full_disk_is_told_with_the_file(tmp_path: Path) -> None:
    import onnx

    value = onnx.helper.make_tensor_value_info
    node = onnx.helper.make_node("Relu", ["x"], ["y"])
    graph = onnx.helper.make_graph([node], "net", [value("x", 1, [1, 2])], [value("y", 1, [1, 2])])
    onnx.save(
        onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10),
        tmp_path / "net.onnx",
    )
    (tmp_path / "net.xml").symlink_to("/dev/full")
    with pytest.raises(ExportError, match=r"cannot write .*net\.xml.*room"):
        export_module._to_openvino(tmp_path / "net.onnx")
