"""`andon alarms …`: see the alarms; acknowledge, reset and shelve them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pipeline.events import PersonsAct

alarms = typer.Typer(name="alarms", help="See, acknowledge, reset and shelve alarms.", no_args_is_help=True)

Line = Annotated[str, typer.Option("--line", help="The line whose alarms are meant.")]
Actor = Annotated[
    str | None, typer.Option(envvar="USER", help="Who acts. It is kept with the alarm.", show_default="the login name")
]
Kind = Annotated[str | None, typer.Option(help="Only alarms of this kind, such as defects.")]
Reason = Annotated[str, typer.Option(help="Why. It is kept with the alarm.")]
TimeoutS = Annotated[float, typer.Option(min=1, max=120, help="How long to wait for the answer.")]


@alarms.command()
def tail(
    line: Annotated[str | None, typer.Option(help="Only this line.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The events as they are, one a line.")] = False,
    since_beginning: Annotated[bool, typer.Option(help="Start with all that Kafka still has.")] = False,
) -> None:
    """Show every change of an alarm as it comes, until told to stop."""
    from pipeline.events import Alarm, ContractError
    from pipeline.kafka.reading import follow
    from pipeline.settings import read_settings
    from workers.alerting.people.display import change_line, console
    from workers.commands.away import tell_away
    from workers.commands.ending import Printer

    out = console()
    settings = read_settings()
    topics = [settings.topics.alarms.name]
    with Printer() as printer:
        for record in follow(settings, topics, printer.stop, from_beginning=since_beginning, away=tell_away):
            try:
                alarm = Alarm.from_json(record.value)
            except ContractError as error:
                typer.echo(f"{record.place}: {record.unreadable or error}", err=True)
                continue
            if line not in (None, alarm.line_id):
                continue
            with printer.printing():
                if as_json:
                    print(alarm.to_json().decode(), flush=True)
                else:
                    out.print(change_line(alarm))


@alarms.command("list")
def list_alarms(
    line: Annotated[str | None, typer.Option(help="Only this line.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The alarms as events, one a line.")] = False,
) -> None:
    """Show the alarms that stand now, each with the newest frame of its evidence."""
    from rich.text import Text

    from pipeline.settings import read_settings
    from workers.alerting.core.state import StateError
    from workers.alerting.people.display import change_line, console
    from workers.alerting.recovery import fault_of, read_stored

    settings = read_settings()
    found = read_stored(settings)
    stored = found.lines
    standing = [
        entry.alarm for line_id in sorted(stored) if line in (None, line_id) for entry in stored[line_id].state.alarms
    ]
    out = console()
    for alarm in standing:
        if as_json:
            print(alarm.to_json().decode())
        else:
            evidence = alarm.evidence.frame_ids
            out.print(change_line(alarm) + Text(f"  (andon map {evidence[-1]})" if evidence else ""))
    faults = found.faults() if line is None else [fault for fault in [fault_of(settings, found, line)] if fault]
    if faults:  # what else stands is shown first
        raise StateError("; ".join(map(str, faults)))
    if not standing and not as_json:
        out.print("no alarm")


@alarms.command()
def ack(line: Line, actor: Actor = None, reason: Reason = "", kind: Kind = None, timeout_s: TimeoutS = 10) -> None:
    """Say that you have seen the alarms of a line. Those that latch stay until reset."""
    from pipeline.events import Act

    _ask(line, Act.ACKNOWLEDGE, actor, reason, timeout_s, kind)


@alarms.command()
def reset(
    line: Line,
    reason: Annotated[str, typer.Option(help="What was done about the cause. A reset needs one.")],
    actor: Actor = None,
    kind: Kind = None,
    timeout_s: TimeoutS = 10,
) -> None:
    """Clear the acknowledged alarms of a line and permit it to run. This never restarts the line."""
    from pipeline.events import Act

    if not reason.strip():
        raise typer.BadParameter("a reset needs a reason: what was done about the cause", param_hint="--reason")
    _ask(line, Act.RESET, actor, reason, timeout_s, kind)


@alarms.command()
def shelve(
    line: Line,
    reason: Annotated[str, typer.Option(help="Why. Shelving needs one.")],
    minutes: Annotated[float, typer.Option(min=0.1, max=24 * 60, help="It shows again by itself after these.")],
    actor: Actor = None,
    kind: Kind = None,
    timeout_s: TimeoutS = 10,
) -> None:
    """Put the alarms of a line aside for a while. A held line stays held."""
    from pipeline.events import Act

    _ask(line, Act.SHELVE, actor, reason, timeout_s, kind, shelve_for_s=minutes * 60)


@alarms.command()
def unshelve(line: Line, actor: Actor = None, reason: Reason = "", kind: Kind = None, timeout_s: TimeoutS = 10) -> None:
    """Show shelved alarms again before their time is over."""
    from pipeline.events import Act

    _ask(line, Act.UNSHELVE, actor, reason, timeout_s, kind)


def _ask(
    line: str,
    act: PersonsAct,
    actor: str | None,
    reason: str,
    timeout_s: float,
    kind: str | None,
    shelve_for_s: float | None = None,
) -> None:
    """Exit code 1 when refused or not answered."""
    from pipeline.settings import read_settings
    from workers.alerting.people.asking import ask, who
    from workers.alerting.people.display import change_line, console
    from workers.printable import printable

    answer = ask(
        read_settings(),
        line,
        act,
        actor=who(actor),
        reason=reason,
        kind=kind,
        shelve_for_s=shelve_for_s,
        timeout_s=timeout_s,
    )
    out = console()
    for alarm in answer.changes:
        out.print(change_line(alarm))
    for entry in answer.untold:
        out.print(f"{entry.subject} refused: {printable(entry.reason)}", markup=False)
    if not answer.answered:
        typer.echo(
            f"no answer in {timeout_s:g} s: is `andon alerting run` up? The request is kept: a worker that is back "
            "carries it out on what stands now, but no reset that waited for more than 5 minutes",
            err=True,
        )
    if answer.refused or not answer.answered:
        raise typer.Exit(1)
