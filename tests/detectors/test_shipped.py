"""The bundles that ship, and the solar cells they were trained on."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

import pipeline.bundles
from pipeline.detectors.registry import load_detector
from pipeline.training.baselines import gradient_energy, sobel_energy
from pipeline.training.data import find_layout, load_frames
from pipeline.training.elpv import GAP_CELLS, Cell, assign, lay_out

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
    assert len(detector.predict(np.full((1, 300, 300), 120, np.uint8)).scores) == 1


@pytest.mark.parametrize("cell_type", ["mono", "poly"])
def test_it_beats_the_raw_image_on_cells_it_never_saw(cells: Path, cell_type: str) -> None:
    """On a sample, so that the test is quick; the model card has all of them."""
    layout = find_layout(cells / cell_type)
    normals = load_frames(layout.test_normals[::10], "gray")
    defects = load_frames(layout.test_defects[::2], "gray")
    frames = np.concatenate([normals, defects])
    labels = np.r_[np.zeros(len(normals)), np.ones(len(defects))]
    bundle = next(path for path in SHIPPED if cell_type in path.name)
    found = roc_auc_score(labels, load_detector(bundle, "cpu").predict(frames).scores)
    for baseline in (sobel_energy, gradient_energy):
        assert found > roc_auc_score(labels, [baseline(frame) for frame in frames])


def test_elpv_is_laid_out_with_every_test_cell_behind_the_border(cells: Path) -> None:
    for cell_type, counts in {"mono": (347, 241, 20), "poly": (567, 347, 45)}.items():
        layout = find_layout(cells / cell_type)
        assert (len(layout.normals), len(layout.test_normals), len(layout.test_defects)) == counts
        last = max(path.name for path in layout.normals)
        assert all(path.name > last for path in (*layout.test_normals, *layout.test_defects))


def test_laying_out_twice_changes_nothing(cells: Path) -> None:
    before = sorted(cells.rglob("*.png"))
    lay_out(cells)
    assert sorted(cells.rglob("*.png")) == before


def test_a_gap_lies_at_the_border_and_doubt_is_left_out() -> None:
    cells = [Cell(f"{number:04d}", 0.33 if number == 90 else float(number % 2), "mono") for number in range(100)]
    places = assign([*cells, Cell("9999", 0.0, "poly")], "mono")
    assert places["train/good"] == [cell for cell in cells[:70] if cell.defect_probability == 0]
    assert min(int(cell.path) for cell in places["test/good"] + places["test/defective"]) == 70 + GAP_CELLS
    assert cells[90] in places["left out"]
    assert sum(len(place) for place in places.values()) == 100
