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

    Needs the package elpv-dataset (`pip install elpv-dataset`). Good cells from the first 70 % of the cell numbers go to train/good,
    the rest to test/good and test/defective. Cells of doubtful label are left out.
    """
    from pipeline.training.data import DataError
    from pipeline.training.elpv import lay_out

    try:
        counts = lay_out(out)
    except DataError as error:
        typer.echo(f"andon dataset elpv: {error}", err=True)
        raise typer.Exit(2) from error
    for place, count in counts.items():
        typer.echo(f"{count:5d}  {place}")
