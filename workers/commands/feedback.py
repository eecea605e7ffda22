"""`andon feedback …`: what people said of verdicts on the operator's page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

feedback = typer.Typer(name="feedback", help="What people said of verdicts, for retraining.", no_args_is_help=True)


@feedback.command()
def export(
    out: Annotated[Path, typer.Option(help="Empty folder to write to.", file_okay=False)],
    file: Annotated[
        Path | None,
        typer.Option("--feedback", help="The file of the page.", show_default="ANDON_HOME/console/feedback.sqlite"),
    ] = None,
) -> None:
    """Write the judged images in MVTec layout, a folder a recipe: train/good, test/defect, and feedback.csv.

    The newest word on a frame counts. Frames that people were unsure of are left out.
    """
    from workers.console.feedback import export as write
    from workers.local.data_folder import DataFolder

    written = write(file or DataFolder.at(None).root / "console" / "feedback.sqlite", out)
    for recipe, counts in written.items():
        typer.echo(f"{out / recipe}: {counts.good} good, {counts.defects} defects, {counts.left_out} left out (unsure)")
    if not written:
        typer.echo("nobody has judged a frame yet")
