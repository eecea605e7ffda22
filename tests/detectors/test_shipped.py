"""The bundles that ship, and the solar cells they were trained on."""

import errno
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

import pipeline.bundles
from pipeline.detectors.bundle import MANIFEST
from pipeline.detectors.registry import load_detector
from pipeline.training.figures.baselines import gradient_energy, sobel_energy
from pipeline.training.images.data import read_frame
from pipeline.training.images.elpv import BLOCK_CELLS, GAP_CELLS, TRAIN_CELLS, Cell, assign, lay_out
from pipeline.training.images.layouts import find_layout

pytestmark = pytest.mark.unit

SHIPPED = sorted(path.parent for path in Path(pipeline.bundles.__path__[0]).glob("*/bundle.json"))
MAX_BYTES = 5 * 1024 * 1024


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("elpv_dataset")
    folder = tmp_path_factory.mktemp("cells")
    lay_out(folder)
    return folder


def test_two_bundles_ship() -> None:
    assert [path.name for path in SHIPPED] == ["elpv-mono-radar", "elpv-poly-radar"]


@pytest.mark.parametrize("bundle", SHIPPED, ids=lambda path: path.name)
def test_a_shipped_bundle_is_small_whole_and_documented(bundle: Path) -> None:
    assert sum(path.stat().st_size for path in bundle.iterdir()) <= MAX_BYTES
    detector = load_detector(bundle, "cpu")
    assert detector.info.name == bundle.name
    assert detector.info.model_hash in (bundle / "README.md").read_text()
    assert detector.info.model_hash in (bundle / MANIFEST).read_text()
    assert len(detector.predict(np.full((1, 300, 300), 120, np.uint8)).scores) == 1


@pytest.mark.parametrize("cell_type", ["mono", "poly"])
def test_it_beats_the_raw_image_on_cells_it_never_saw(cells: Path, cell_type: str) -> None:
    """On a sample, so that the test is quick; the model card has all of them."""
    layout = find_layout(cells / cell_type)
    normals = [read_frame(path, "gray") for path in layout.test_normals[::10]]
    defects = [read_frame(path, "gray") for path in layout.test_defects[::2]]
    frames = [*normals, *defects]
    labels = np.r_[np.zeros(len(normals)), np.ones(len(defects))]
    bundle = next(path for path in SHIPPED if cell_type in path.name)
    found = roc_auc_score(labels, load_detector(bundle, "cpu").predict(np.stack(frames)).scores)
    for baseline in (sobel_energy, gradient_energy):
        assert found > roc_auc_score(labels, [baseline(frame) for frame in frames])


def test_elpv_is_laid_out_with_no_cell_on_both_sides(cells: Path) -> None:
    for cell_type in ("mono", "poly"):
        layout = find_layout(cells / cell_type)
        train, test = (
            {path.name for path in paths} for paths in (layout.normals, (*layout.test_normals, *layout.test_defects))
        )
        assert len(train) > 390
        assert len(layout.test_defects) > 60
        assert not train & test
        validation = {path.name for path in (cells / cell_type / "validation" / "defective").iterdir()}
        assert len(validation) > 200
        assert not validation & (train | test)


def test_a_cell_that_was_cut_short_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where cells are copied, since no links can be made, and the disk is full in the middle of one."""
    pytest.importorskip("elpv_dataset")

    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, "another file system")

    def half(source: Path, target: Path) -> None:
        Path(target).write_bytes(Path(source).read_bytes()[:1000])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.link", refuse)
    monkeypatch.setattr("shutil.copyfile", half)
    with pytest.raises(OSError, match="No space left"):
        lay_out(tmp_path)
    assert not list(tmp_path.rglob("*.png"))


def test_laying_out_twice_changes_nothing(cells: Path) -> None:
    before = sorted(cells.rglob("*.png"))
    lay_out(cells)
    assert sorted(cells.rglob("*.png")) == before


def test_training_and_test_take_turns_with_gaps_between() -> None:
    cells = [Cell(f"{number:04d}", 0.33 if number == 30 else float(number % 2), "mono") for number in range(100)]
    places = assign([*cells, Cell("9999", 0.0, "poly")], "mono")
    train = {int(cell.path) for cell in places["train/good"]}
    test = {int(cell.path) for cell in places["test/good"] + places["test/defective"]}
    assert train == {number for number in range(100) if number % 2 == 0 and number % BLOCK_CELLS < TRAIN_CELLS}
    assert min(abs(one - other) for one in train for other in test) > GAP_CELLS
    assert all(int(cell.path) % BLOCK_CELLS < TRAIN_CELLS for cell in places["validation/defective"])
    assert cells[30] in places["left out"]
    assert sum(len(place) for place in places.values()) == 100
