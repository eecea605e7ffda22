"""`andon subscribe`: events as JSON lines, for jq and for whoever has no Kafka client."""

from enum import StrEnum
from typing import Annotated

import typer


class Stream(StrEnum):
    ALARMS = "alarms"
    SCORES = "scores"
    LINE_COMMANDS = "line-commands"
    COMMAND_REPLIES = "command-replies"
    SHADOW_COMMANDS = "shadow-commands"
    AUDIT_LOG = "audit-log"
    HEARTBEATS = "heartbeats"
    OPERATIONS = "operations"


def subscribe(
    stream: Annotated[Stream, typer.Argument(help="Which topic.")],
    line: Annotated[str | None, typer.Option(help="Only this line.")] = None,
    from_beginning: Annotated[bool, typer.Option(help="Start with all that Kafka still has.")] = False,
    count: Annotated[int | None, typer.Option(min=1, help="End after so many.")] = None,
) -> None:
    """Print each event as it comes, one JSON object a line, until told to stop.

    Every event keeps its JSON Schema in docs/contracts/. A record that does not is told on stderr and left out.
    """
    from pipeline.kafka.reading import follow
    from pipeline.settings import read_settings
    from workers.alerting.people.streams import read_event
    from workers.commands.away import tell_away
    from workers.commands.ending import Printer

    settings, printed = read_settings(), 0
    topic = getattr(settings.topics, stream.value.replace("-", "_")).name
    with Printer() as out:
        for record in follow(settings, [topic], out.stop, from_beginning=from_beginning, away=tell_away):
            event = record.unreadable or read_event(stream.value, record.value)
            if isinstance(event, str):
                typer.echo(f"{record.place}: {event}", err=True)
            elif line in (None, event.line_id):
                with out.printing():
                    print(event.to_json().decode(), flush=True)
                printed += 1
                if printed == count:
                    return
