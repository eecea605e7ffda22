"""`andon check`: one frame through a running factory."""

from typing import Annotated

import typer


def check(
    recipe: Annotated[
        str, typer.Option(help="A recipe that names andon-check among its cameras, in the Serve configuration.")
    ],
    timeout_s: Annotated[float, typer.Option(min=1, max=3600, help="How long the score may take.")] = 60,
) -> None:
    """Send one frame and wait for its score. It belongs to no line, so it stops none. Exit code 2 when none comes.

    The frame is a small made-up picture, so its verdict says nothing of the model: NOT_DECIDABLE is as good as any.

    Example: andon check --recipe elpv-mono
    """
    from pipeline.settings import read_settings
    from workers.trying import try_recipe

    tried = try_recipe(read_settings(), recipe, timeout_s=timeout_s)
    score = tried.score
    why = f" ({', '.join(score.doubts)})" if score.doubts else ""
    typer.echo(f"scored after {tried.seconds:.1f} s: {score.verdict}{why} by {score.model.bundle} {score.model.hash}")
