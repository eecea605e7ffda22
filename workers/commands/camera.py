"""`andon camera …`: the worker that brings images to Kafka."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from workers.commands.options import MetricsPort

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workers.camera.ledger import Tally
    from workers.camera.parcel import Owner

camera = typer.Typer(name="camera", help="Bring images to Kafka and account for every one.", no_args_is_help=True)

ConfigFile = Annotated[Path, typer.Option("--config", help="YAML; see deploy/examples/cameras.yaml.")]


@camera.command()
def run(
    config: ConfigFile,
    frames: Annotated[int | None, typer.Option(min=1, help="End after so many frames of each camera.")] = None,
    seconds: Annotated[float | None, typer.Option(min=0, help="End after so long.")] = None,
    metrics_port: MetricsPort = None,
) -> None:
    """Send what the cameras see until told to stop."""
    import logging

    from pipeline.settings import read_settings
    from workers.camera import worker
    from workers.camera.config import read_camera_config
    from workers.commands.ending import ends_by_signal
    from workers.printable import begin_logging

    begin_logging()
    logging.getLogger("kafka").setLevel(logging.ERROR)
    stop = ends_by_signal()
    try:
        tallies = worker.run(
            read_camera_config(config),
            read_settings(),
            stop,
            frames_per_camera=frames,
            seconds=seconds,
            metrics_port=metrics_port,
        )
    except worker.NothingPublishedError as error:
        typer.echo(f"andon camera: {error}", err=True)
        raise typer.Exit(1) from None
    _print_summary(tallies)


@camera.command()
def check(config: ConfigFile) -> None:
    """Open every source once, look at the spool's folder, and say what was found."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from workers.camera.check import look_at_all, spool_fault
    from workers.camera.config import read_camera_config

    found = read_camera_config(config)
    table = Table("camera", "line", "station", "recipe", "source", "first image")
    faults = []
    for each, sight in zip(found.cameras, look_at_all([each.source for each in found.cameras]), strict=True):
        if not sight.usable:
            faults.append(f"{each.camera_id}: {sight.description}")
        first = escape(sight.description) if sight.usable else "[red]none, see below[/red]"
        table.add_row(each.camera_id, each.line_id, each.station_id, each.recipe, each.source.type, first)
    if found.spool and (fault := spool_fault(found.spool.folder)):
        faults.append(f"frames can't be spooled: {fault}")
    if found.empty_spool:
        faults.append(found.empty_spool)
    Console().print(table)
    for fault in faults:
        typer.echo(f"andon camera: {fault}", err=True)
    if faults:
        raise typer.Exit(1)


def _print_summary(tallies: "Mapping[Owner, Tally]") -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("camera", "boot", "captured", "published", "dropped", "spooled", "end")
    for owner, tally in tallies.items():
        dropped = ", ".join(f"{reason} {frames}" for reason, frames in sorted(tally.dropped.items())) or "0"
        counts = (str(tally.captured), str(tally.published), dropped, str(tally.spooled))
        table.add_row(owner.camera_id, owner.boot_id, *counts, tally.end.value)
    Console().print(table)
