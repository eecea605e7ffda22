"""`andon audit`: is every frame accounted for?"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from workers.commands.places import ready_file, write_json
from workers.commands.since import HELP, moment
from workers.commands.wide_console import wide_console

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from pipeline.audit.accounting import CameraAccount

audit = typer.Typer(invoke_without_command=True)


@audit.callback()
def run(
    context: typer.Context,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the accounts to this file, too.")] = None,
    since: Annotated[str, typer.Option(help=HELP + " All that Kafka holds where left out.")] = "",
) -> None:
    """Is every frame accounted for? And who did what at the lines?

    Reads the raw topics and prints for each camera: captured = scored + dropped + dead + in flight. Exit code 1 when a
    frame is missing, or one model scored a frame twice with different results.
    """
    if context.invoked_subcommand:
        return
    from rich.progress import Progress
    from rich.text import Text

    from pipeline.audit.take_stock import take_stock
    from pipeline.settings import read_settings

    if json_file:
        ready_file(json_file)
    console = wide_console()
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("reading the topics", total=None)
        accounts = take_stock(
            read_settings(), on_record=lambda: progress.advance(task), since=moment(since) if since else None
        )
    console.print(account_table(accounts))
    if json_file:
        write_json(json_file, [asdict(account) for account in accounts])
    for account in accounts:
        for contradiction in account.contradictions:
            console.print(Text(contradiction, "red"))
    if unanswered := sum(account.unanswered for account in accounts):
        console.print(
            f"[yellow]{unanswered:,} more frames are not answered for:[/] what became of them was deleted by Kafka "
            "before they were (retention of scores and frames.dead). `--since` leaves them out."
        )
    if not all(account.balanced for account in accounts):
        console.print(
            "[bold red]The sum does not hold.[/] Frames are missing, contradict themselves, or were counted as dropped "
            "although Kafka has them; see above, and docs/operations.md. Once you know why, --since tells of what came "
            "later alone."
        )
        raise typer.Exit(1)
    if any(account.captured or account.unanswered for account in accounts):
        console.print("[green]Every frame is accounted for.")
    else:
        console.print(f"[yellow]There is no frame {'since then, by the clock of Kafka' if since else 'in Kafka'}.")


def account_table(accounts: "Sequence[CameraAccount]") -> "Table":
    """One row a camera; the sum of scored, dropped, dead and in flight is what was captured."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from workers.printable import printable

    table = Table(title="Frame accounting", box=box.SIMPLE, padding=(0, 1, 0, 0))
    table.add_column("camera", no_wrap=True)
    for title in ("captured", "scored", "NOT_OK", "undecided", "dropped", "dead", "in flight", "missing", "repeats"):
        table.add_column(title, justify="right", no_wrap=True)
    for one in accounts:
        numbers = (one.captured, one.scored, one.not_ok, one.not_decidable)
        reasons = (_reasons(one.dropped), _reasons(one.dead))
        camera = Text(printable(one.camera_id))  # of a stray record: whatever its key was
        rest = (one.in_flight, one.missing, one.duplicates)
        style = None if one.balanced else "bold red"
        table.add_row(camera, *map(str, numbers), *reasons, *map(str, rest), style=style)
    return table


def _reasons(counts: "Mapping[str, int]") -> "Text":
    from rich.text import Text

    from workers.printable import printable

    return Text("\n".join(f"{count} {printable(reason)}" for reason, count in counts.items()) or "0")


@audit.command()
def log(
    line: Annotated[str | None, typer.Option(help="Only this line.")] = None,
    since: Annotated[str, typer.Option(help=HELP + " All that Kafka holds where left out.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="The entries as events, one a line.")] = False,
) -> None:
    """Print who did what at the lines, when and why.

    Every alarm, command, reply, act, refusal and takeover. Exit code 1 when an entry of a line is missing, or two
    differ under one number.
    """
    from pipeline.settings import read_settings
    from workers.alerting.people.audit_log import entry_line, gaps, read_log
    from workers.alerting.people.display import console

    entries = read_log(read_settings(), line, moment(since) if since else None)
    out = console()
    for entry in entries:
        if as_json:
            print(entry.to_json().decode())
        else:
            out.print(entry_line(entry))
    missing = gaps(entries)
    for gap in missing:
        typer.echo(gap, err=True)
    if missing:
        raise typer.Exit(1)
