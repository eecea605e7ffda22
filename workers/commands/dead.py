"""`andon dead`: look at the frames that could not be scored."""

import re
from pathlib import Path
from typing import Annotated

import typer

from workers.commands.places import ready_file
from workers.commands.since import HELP, moment
from workers.commands.wide_console import wide_console

dead = typer.Typer(help="Look at frames that could not be scored, and why.", no_args_is_help=True)

_PLACE = re.compile(r"(\d+):(\d+)")


@dead.command("list")
def list_(
    reason: Annotated[str, typer.Option(help="Only of this reason, for instance 'undecodable'.")] = "",
    camera: Annotated[str, typer.Option(help="Only of this camera.")] = "",
    last: Annotated[int, typer.Option(min=1, help="So many of the newest.")] = 20,
    since: Annotated[str, typer.Option(help=HELP + " Counts all of these by reason.")] = "",
) -> None:
    """List the newest dead letters and why they died. Their bytes are kept: see `andon dead save`.

    Kafka gives no letter without its bytes, and may hold gigabytes of them. So no more than the newest are read, unless
    a reason, a camera or a time is asked for.
    """
    from collections import Counter, deque

    from rich import box
    from rich.table import Table
    from rich.text import Text

    from pipeline.events import from_ms
    from pipeline.kafka.dead_letters import cause_of_death
    from pipeline.kafka.reading import kept_of, places_at, read_to_end
    from pipeline.settings import read_settings
    from workers.printable import printable

    settings = read_settings()
    topics = [settings.topics.frames_dead.name]
    kept = kept_of(settings, topics)
    start = dict.fromkeys(kept, 0)
    if since:
        start = places_at(settings, topics, moment(since))
    elif not (reason or camera):
        start = {place: held.stop - last for place, held in kept.items()}
    unread = sum(max(0, start[place] - held.start) for place, held in kept.items())
    counts: Counter[str] = Counter()
    rows: deque[tuple[int, tuple[str, ...]]] = deque()
    for record in read_to_end(settings, topics, start=start):
        cause = cause_of_death(record.headers)
        of_camera = (record.key or b"(unknown)").decode(errors="replace")
        if (reason and cause.get("reason") != reason) or (camera and of_camera != camera):
            continue
        counts[cause.get("reason", "unknown")] += 1
        died_at = from_ms(record.timestamp_ms).strftime("%Y-%m-%d %H:%M:%S")
        place = f"{record.partition}:{record.offset}"
        row = (place, died_at, of_camera, cause.get("reason", "unknown"), str(len(record.value or b"")))
        rows.append((record.timestamp_ms, (*row, cause.get("detail", ""))))
        if len(rows) > 2 * last:
            rows = deque(sorted(rows)[-last:])
    console = wide_console()
    if not rows:
        console.print("No frame is dead." if not (reason or camera or since) else "No dead frame matches.")
        return
    table = Table("place", "died at (UTC)", "camera", "reason", "bytes", "detail", box=box.SIMPLE)
    for _, cells in sorted(rows)[-last:]:
        table.add_row(*(Text(printable(cell)) for cell in cells))  # from outside, and no markup
    console.print(table)
    console.print(Text(printable(", ".join(f"{count} {name}" for name, count in counts.most_common()))))
    if unread:
        console.print(f"{unread:,} older ones were not read: --since reads from a moment on, and counts all of them")


@dead.command()
def save(
    place: Annotated[str, typer.Argument(help="PARTITION:OFFSET, as `andon dead list` shows it.")],
    out: Annotated[Path, typer.Option(help="File to write the frame's bytes to, as the camera sent them.")],
) -> None:
    """Write the bytes of one dead frame to a file and print its headers."""
    from pipeline.errors import AndonError
    from pipeline.files.durable import write_or_remove
    from pipeline.kafka.reading import read_one
    from pipeline.settings import read_settings
    from workers.printable import printable

    match = _PLACE.fullmatch(place)
    if match is None:
        raise typer.BadParameter(f"{place!r} is not PARTITION:OFFSET, for instance 3:17", param_hint="PLACE")
    ready_file(out)
    settings = read_settings()
    record = read_one(settings, settings.topics.frames_dead.name, int(match[1]), int(match[2]))
    if record is None:
        raise AndonError(f"there is no dead frame at {place}: it has expired, or the place is wrong")
    write_or_remove(out, record.value or b"")
    for name, value in record.headers:
        typer.echo(printable(f"{name}: {value.decode(errors='replace')}"))
    typer.echo(f"{out}: {len(record.value or b'')} bytes")
