"""`andon bundle …`: bring model bundles to where they are used, and look at them."""

from pathlib import Path
from typing import Annotated

import typer

bundle = typer.Typer(name="bundle", help="Deliver and check model bundles.", no_args_is_help=True)


@bundle.command()
def check(folder: Annotated[Path, typer.Argument(help="A bundle, or a folder of bundles.")]) -> None:
    """Check that replicas of this version can score with it, by its hashes and with a small frame, and print the model
    hash that a recipe may insist on. A line a bundle; exit code 1 where any has a fault."""
    from pipeline.delivery import bundle_folders
    from pipeline.detectors.registry import load_detector
    from pipeline.detectors.runtimes import SUFFIXES, check_graphs
    from pipeline.errors import AndonError

    whole = True
    for place in bundle_folders(folder):
        try:
            detector = load_detector(place, "cpu")
        except AndonError as error:
            whole = False
            typer.echo(f"{place.name}: cannot be used: {error}")
            continue
        info = detector.info
        line = f"{place.name}: {info.method}, {info.input.describe()}, model_hash {info.model_hash}"
        for runtime in SUFFIXES:
            if not (place / runtime).is_dir():
                continue
            try:
                check_graphs(detector, place, runtime)
                line += f", graphs for {runtime}"
            except AndonError as error:  # torch alone, which asks for no graphs, runs it all the same
                whole = False
                line += f", no whole graphs for {runtime}: {error}"
        typer.echo(line)
    if not whole:
        raise typer.Exit(1)


@bundle.command()
def fetch(
    url: Annotated[str, typer.Argument(help="https address of a .tar.gz with one folder a bundle.")],
    sha256: Annotated[str, typer.Option(help="Of the archive, 64 hex digits; another one is refused.")],
    to: Annotated[Path, typer.Option(help="Folder for the bundles: ANDON_BUNDLES of the replicas.")],
    timeout_s: Annotated[float, typer.Option(min=1, max=600, help="Of each network step.")] = 30,
) -> None:
    """Fetch an archive of bundles, check it, and unpack it."""
    from pipeline.delivery import fetch_bundles

    for name, info in fetch_bundles(url, sha256.lower(), to, timeout_s=timeout_s).items():
        typer.echo(f"{to / name}: {info.method}, model_hash {info.model_hash}")
