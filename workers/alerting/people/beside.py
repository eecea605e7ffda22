"""What was stopped, and what candidates, shadow bundles and shadow mode would have stopped: side by side. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from rich import box
from rich.table import Table

from pipeline.events import Action, LineCommand
from workers.printable import printable

LIVE, SHADOW_MODE = "live", "shadow mode"


@dataclass(frozen=True)
class Told:
    """The stops of one line by one judge, made or only told."""

    line_id: str
    judge: str
    stops: int
    cameras: tuple[str, ...]
    first: datetime
    last: datetime
    models: tuple[str, ...]
    """bundle and hash, each once."""


def beside(commands: Iterable[LineCommand]) -> list[Told]:
    """By line, the live judge first. A command that was sent twice is one."""
    by_judge: dict[tuple[str, str], dict[object, LineCommand]] = {}
    for command in commands:
        if command.action is not Action.UNHOLD_PERMITTED:
            judge = command.candidate or (SHADOW_MODE if command.simulated else LIVE)
            by_judge.setdefault((command.line_id, judge), {})[command.command_id] = command
    return [
        _told(line_id, judge, list(by_judge[line_id, judge].values()))
        for line_id, judge in sorted(by_judge, key=lambda key: (key[0], key[1] != LIVE, key[1]))
    ]


def _told(line_id: str, judge: str, commands: list[LineCommand]) -> Told:
    at = [command.issued_at for command in commands]
    models = {f"{command.model.bundle} {command.model.hash}" for command in commands if command.model}
    cameras = {command.camera_id for command in commands}
    return Told(line_id, judge, len(commands), tuple(sorted(cameras)), min(at), max(at), tuple(sorted(models)))


def table(told: Iterable[Told]) -> Table:
    found = Table(box=box.SIMPLE, padding=(0, 1, 0, 0))
    for title in ("line", "judged by", "stops", "cameras", "first", "last", "model"):
        found.add_column(title, justify="right" if title == "stops" else "left")
    for one in told:
        made = str(one.stops) if one.judge == LIVE else f"({one.stops})"
        moments = [f"{at:%m-%d %H:%M:%S}" for at in (one.first, one.last)]
        found.add_row(one.line_id, printable(one.judge), made, "\n".join(one.cameras), *moments, "\n".join(one.models))
    return found
