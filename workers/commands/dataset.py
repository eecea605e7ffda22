"""`andon dataset …`: real images to train and demonstrate with."""

from pathlib import Path
from typing import Annotated

import typer

dataset = typer.Typer(help="Lay out public images of real parts for training and demonstration.", no_args_is_help=True)


@dataset.callback()
def _sets() -> None:
    """One sub-command per data set."""


@dataset.command()
def elpv(out: Annotated[Path, typer.Option(help="Folder to write mono/ and poly/ into.")]) -> None:
    """Solar cells seen by electroluminescence (ELPV: 2,624 cells of 44 modules, 300 × 300 px, gray).

    Needs the package elpv-dataset (pip install elpv-dataset). Training and test take turns through the
    cell numbers of each type, in blocks with gaps between: test cells are other cells of the same modules. Cells whose
    label is in doubt (probability 1/3 or 2/3) are left out.

    Example: andon dataset elpv --out cells
    """
    from pipeline.training.images.elpv import lay_out

    for place, count in lay_out(out).items():
        typer.echo(f"{count:5d}  {place}")
