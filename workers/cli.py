"""`andon …`: one command, whose parts live in workers/commands and load what they need only when they run."""

import typer

app = typer.Typer(
    name="andon",
    help="Looks at every frame of every camera, sees the defect, and stops the line.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def main() -> None:
    app()
