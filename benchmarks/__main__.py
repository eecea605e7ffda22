"""`python -m benchmarks [--only SECTION]… [--quick]`: measures, prints a table and keeps every number in results/."""

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.contest import Say
from benchmarks.findings import Finding, NotMeasuredError
from benchmarks.machine import this_machine
from benchmarks.report import Run, load, table
from benchmarks.sections.broker_memory import broker_memory
from benchmarks.sections.camera_memory import camera_memory
from benchmarks.sections.camera_over_producer import camera_over_bare_producer
from benchmarks.sections.cameras_until_it_breaks import cameras_until_it_breaks
from benchmarks.sections.capture_to_coil import capture_to_coil
from benchmarks.sections.null_over_consumer import null_replica_over_bare_consumer
from benchmarks.sections.pipeline_over_detector import pipeline_over_detector
from benchmarks.sections.replica_memory import replica_memory_flat
from benchmarks.sections.serve_over_detector import serve_over_detector
from benchmarks.sections.wall_of_200_cameras import wall_of_200_cameras
from benchmarks.stage import Stage, stage

# In this order: the broker's memory is measured after all others have used it.
SECTIONS: Mapping[str, Callable[[Stage, Say], list[Finding]]] = {
    section.__name__: section
    for section in (
        pipeline_over_detector,
        serve_over_detector,
        null_replica_over_bare_consumer,
        camera_over_bare_producer,
        capture_to_coil,
        cameras_until_it_breaks,
        wall_of_200_cameras,
        replica_memory_flat,
        camera_memory,
        broker_memory,
    )
}
log = logging.getLogger(__name__)
RESULTS = Path(__file__).parent / "results"


def main(
    only: Annotated[list[str] | None, typer.Option(help=f"Of {', '.join(SECTIONS)}; may be repeated.")] = None,
    quick: Annotated[bool, typer.Option(help="Small sizes: shows that everything works, and little more.")] = False,
    out: Annotated[Path, typer.Option(help="Where the JSON file is written.")] = RESULTS,
) -> None:
    """Measure Andon against its bare parts."""
    names = only or list(SECTIONS)
    if unknown := set(names) - set(SECTIONS):
        raise typer.BadParameter(f"no section {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    logging.getLogger("kafka").setLevel(logging.ERROR)
    console = Console()
    started_at, load_at_start = datetime.now(UTC), load()
    findings: list[Finding] = []
    failed: list[str] = []
    try:
        _measure(names, quick, console, findings, failed)
    finally:  # an hour's figures are kept whatever ends the rest
        if findings:
            run = Run(started_at, datetime.now(UTC), quick, this_machine(), load_at_start, load(), findings)
            console.print(table(findings), run.machine.line)
            console.print(
                f"load {run.load_at_start:.1f} at the start, {run.load_at_end:.1f} at the end → {run.write(out)}"
            )
    if failed:
        console.print(f"[red]not measured: {', '.join(failed)}[/]")
        raise typer.Exit(1)


def _measure(names: list[str], quick: bool, console: Console, findings: list[Finding], failed: list[str]) -> None:
    """Fills both lists as it goes."""
    with console.status("starting Kafka and Valkey") as status, stage(quick) as running:
        for name in (name for name in SECTIONS if name in names):
            console.print(f"[bold]{name}[/]")

            def say(what: str, name: str = name) -> None:
                status.update(f"{name}: {what}")

            try:
                found = SECTIONS[name](running, say)
            except NotMeasuredError as error:
                console.print(f"  [red]left out: {error}[/]")
                failed.append(name)
                continue
            except Exception as error:
                log.exception("%s", name)
                console.print(f"  [red]failed: {type(error).__name__}: {error}[/]")
                failed.append(name)
                continue
            running.ran.append(name)
            for finding in found:
                console.print(f"  {finding.measured:.2f} {finding.unit} ({finding.how})")
            findings += found


if __name__ == "__main__":
    typer.run(main)
