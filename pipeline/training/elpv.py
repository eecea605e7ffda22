"""The ELPV solar cells as a training and test set without twins on both sides.

Cells are numbered module by module, so neighbours come from one module and look alike. The border between training and
test is therefore drawn once through the numbers of each cell type, with a gap, and every test cell lies behind it.
"""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from pipeline.training.data import DataError

TRAIN_SHARE = 0.7
GAP_CELLS = 8

CellType = Literal["mono", "poly"]


@dataclass(frozen=True)
class Cell:
    path: str
    """Relative to the data folder of the package."""
    defect_probability: float
    """0, 1/3, 2/3 or 1, from the experts' judgement."""
    cell_type: str


def assign(cells: Sequence[Cell], cell_type: CellType) -> dict[str, list[Cell]]:
    """Cells in the order of their numbers → 'train/good', 'test/good', 'test/defective', and 'left out' for the rest.

    Left out are cells of doubtful label, defective cells before the border, and the gap.
    """
    own = [cell for cell in cells if cell.cell_type == cell_type]
    border = int(len(own) * TRAIN_SHARE)
    places: dict[str, list[Cell]] = {"train/good": [], "test/good": [], "test/defective": [], "left out": []}
    for number, cell in enumerate(own):
        if cell.defect_probability == 0 and number < border:
            places["train/good"].append(cell)
        elif cell.defect_probability in (0, 1) and number >= border + GAP_CELLS:
            places["test/defective" if cell.defect_probability else "test/good"].append(cell)
        else:
            places["left out"].append(cell)
    return places


def read_labels(data: Path) -> list[Cell]:
    """labels.csv: path, defect probability and cell type, separated by spaces."""
    cells = []
    for line in (data / "labels.csv").read_text().splitlines():
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
        shutil.copyfile(source, target)
