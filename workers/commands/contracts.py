"""`andon contracts`: the JSON Schemas of every event."""

from pathlib import Path
from typing import Annotated

import typer


def contracts(
    out: Annotated[Path, typer.Option(help="Folder to write the schemas to.")] = Path("docs/contracts"),
) -> None:
    """Write the JSON Schema of every event that travels through Kafka, for subscribers in any language."""
    from pipeline.contracts import schemas
    from pipeline.files.durable import write_whole

    out.mkdir(parents=True, exist_ok=True)
    for name, text in schemas().items():
        write_whole(out / name, text)
        typer.echo(out / name)
