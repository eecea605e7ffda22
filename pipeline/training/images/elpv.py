"""The ELPV solar cells as a training and test set: other cells of the same modules.

Cells are numbered module by module, and modules differ in make and exposure more than a defective cell differs from a
good one. A line makes one product at a time and its recipe is trained on that product, so training and test take turns
through the numbers, in blocks with gaps between: every kind of module is on both sides, and no cell is.
"""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from pipeline.training.images.data import DataError

BLOCK_CELLS = 40
"""One turn of training and test, in cell numbers of one type."""
TRAIN_CELLS = 26
GAP_CELLS = 2
"""Between training and test, on either side: neighbours in a module look most alike."""

CellType = Literal["mono", "poly"]


@dataclass(frozen=True)
class Cell:
    path: str
    """Relative to the data folder of the package."""
    defect_probability: float
    """0, 1/3, 2/3 or 1, from the experts' judgement."""
    cell_type: str


def assign(cells: Sequence[Cell], cell_type: CellType) -> dict[str, list[Cell]]:
    """Cells in the order of their numbers → 'train/good', 'test/good', 'test/defective', 'validation/defective', and
    'left out' for the rest.

    The validation cells are the defective ones of the training blocks: real defects to choose settings on, against
    normals of train/good that nothing was fitted on. No training and no test reads them. Left out are cells of
    doubtful label, and the gaps.
    """
    own = [cell for cell in cells if cell.cell_type == cell_type]
    names = ("train/good", "test/good", "test/defective", "validation/defective", "left out")
    places: dict[str, list[Cell]] = {name: [] for name in names}
    for number, cell in enumerate(own):
        turn = number % BLOCK_CELLS
        if cell.defect_probability == 0 and turn < TRAIN_CELLS:
            places["train/good"].append(cell)
        elif cell.defect_probability == 1 and turn < TRAIN_CELLS:
            places["validation/defective"].append(cell)
        elif cell.defect_probability in (0, 1) and TRAIN_CELLS + GAP_CELLS <= turn < BLOCK_CELLS - GAP_CELLS:
            places["test/defective" if cell.defect_probability else "test/good"].append(cell)
        else:
            places["left out"].append(cell)
    return places


def read_labels(data: Path) -> list[Cell]:
    """labels.csv: path, defect probability and cell type, separated by spaces."""
    cells = []
    for line in (data / "labels.csv").read_text(encoding="utf-8").splitlines():
        path, probability, cell_type = line.split()
        cells.append(Cell(path, round(float(probability), 2), cell_type))
    return sorted(cells, key=lambda cell: cell.path)


def lay_out(out: Path) -> dict[str, int]:
    """Links or copies the cells to out/mono and out/poly; place → count. Raises DataError without the package."""
    spec = find_spec("elpv_dataset")
    if spec is None or spec.origin is None:
        raise DataError("the package elpv-dataset is not installed: pip install elpv-dataset")
    data = Path(spec.origin).parent / "data"
    cells = read_labels(data)
    counts: dict[str, int] = {}
    for cell_type in ("mono", "poly"):
        for place, chosen in assign(cells, cell_type).items():
            counts[f"{cell_type}/{place}" if place != "left out" else f"{cell_type}, {place}"] = len(chosen)
            if place != "left out":
                for cell in chosen:
                    _link(data / cell.path, out / cell_type / place / Path(cell.path).name)
    return counts


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        return
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        draft = target.with_name(target.name + ".part")  # what is cut short must not be taken for a cell
        shutil.copyfile(source, draft)
        draft.replace(target)
