"""What commands that follow a topic say while Kafka is away."""

import typer


def tell_away(why: str | None) -> None:
    typer.echo(f"{why} Nothing is heard until it does." if why else "Kafka answers again.", err=True)
