"""The simulated PLC in the terminal: a lamp and a few lines for each line of the plant."""

from collections.abc import Sequence
from datetime import datetime
from time import monotonic

from rich import box
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from workers.plc.ladder import Ladder

_EVENTS = 8


def lamp(ladder: Ladder) -> Text:
    """By shape, word and colour, so that no one of them has to be seen."""
    if ladder.held:
        return Text("■ HELD", "bold white on red")
    if ladder.running:
        return Text("● RUNNING", "bold green")
    return Text("▲ STANDS", "bold yellow")


def plc_view(ladders: Sequence[Ladder], served: Sequence[str]) -> RenderableType:
    table = Table(box=box.SIMPLE, padding=(0, 1))
    for title in ("line", "state", "level", "permit", "watchdog", "heartbeat", "epoch", "stops", "refused"):
        table.add_column(title, no_wrap=True)
    for ladder in ladders:
        table.add_row(
            ladder.line_id,
            lamp(ladder),
            ladder.inputs.level,
            "yes" if ladder.permit else Text("NO", "bold yellow"),
            Text("LOST", "bold red") if ladder.watchdog_lost else "ok",
            str(ladder.inputs.heartbeat),
            str(ladder.inputs.epoch),
            str(ladder.stops),
            str(ladder.refused),
        )
    events = sorted((event.at_s, ladder.line_id, event.text) for ladder in ladders for event in ladder.events)
    log = Text("\n").join(Text(f"{_wall(at_s)}  {line_id}  {text}", "dim") for at_s, line_id, text in events[-_EVENTS:])
    return Panel(Group(table, log), title="Simulated PLC", subtitle="  ".join(served), width=100)


def plain(ladder: Ladder, seen: int) -> tuple[list[str], int]:
    """For logs: what is new since `seen` events, and how many there were by now."""
    events, told = ladder.history()
    new = events[-(told - seen) :] if told > seen else []
    return [f"{_wall(event.at_s)}  {ladder.line_id}  {event.text}" for event in new], told


def _wall(at_s: float) -> str:
    return datetime.fromtimestamp(datetime.now().timestamp() - (monotonic() - at_s)).strftime("%H:%M:%S")
