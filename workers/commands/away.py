"""What commands that follow a topic say while Kafka is away."""

import typer


def tell_away(why: str | None) -> None:
    typer.echo(f"{why} Nothing is heard until then." if why else "It is heard again.", err=True)
