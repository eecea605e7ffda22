"""`andon demo`: the whole factory on this machine."""

from pathlib import Path
from typing import Annotated

import typer

from workers.commands.options import Home
from workers.commands.places import ready_file, write_json
from workers.commands.wide_console import wide_console


def demo(
    frames: Annotated[int, typer.Option(min=8, help="Frames of all cameras together.")] = 400,
    seconds: Annotated[float | None, typer.Option(min=1, help="End the capture after so long.")] = None,
    cameras: Annotated[int, typer.Option(min=1, max=100, help="Cameras per line; there are two lines.")] = 4,
    fps: Annotated[
        float | None,
        typer.Option(
            min=0.1, help="Frames a second of each camera.", show_default="what this machine can judge, at most 1.6"
        ),
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the numbers to this file.")] = None,
    console_page: Annotated[bool, typer.Option("--console/--no-console", help="The operator's page.")] = True,
    stay: Annotated[bool, typer.Option("--stay", help="Keep all up after the last frame until Ctrl-C.")] = False,
    report: Annotated[Path, typer.Option(help="Folder of the report.", file_okay=False)] = Path("report"),
    home: Home = None,
) -> None:
    """Run cameras, Kafka, Ray Serve with RADAR, Redis, alerting and the audit on real images, and draw a report.

    Two lines of solar cells; each gets a burst of defective cells, and must be stopped at a simulated PLC: one by
    Modbus TCP, one by OPC UA. Exit code 0 only if every frame is accounted for and both lines stand stopped by the
    coils that are read back. KAFKA_BOOTSTRAP and REDIS_URL name services to use instead of our own.
    """
    from workers.commands.audit import account_table
    from workers.commands.ending import ends_as_by_ctrl_c
    from workers.demo.demo import demo_run
    from workers.demo.stage import Options
    from workers.demo.summary import failings, summarise

    ends_as_by_ctrl_c()
    if json_file:
        ready_file(json_file)
    console = wide_console()
    with demo_run(Options(frames, seconds, cameras, fps, console=console_page, stay=stay), home, console) as run:
        from workers.demo.report import write_report  # it brings matplotlib, which should not delay the start

        summary = summarise(run)
        page = write_report(run, summary, report)
        if json_file:
            write_json(json_file, summary.to_dict())
        console.print(account_table(run.accounts))
        console.print(
            f"{summary.planted_found} of {summary.planted} planted defects found, {summary.false_alarms} false alarms; "
            f"{summary.frames_per_s} frames/s; stopped at the PLC: {', '.join(run.stopped) or 'none'}; report: {page}"
        )
    if failed := failings(run, summary):
        console.print(f"[bold red]The demo failed:[/] {'; '.join(failed)}.")
        raise typer.Exit(1)
    console.print("[bold green]Every frame is accounted for, and both lines stand stopped by read-back.")
