"""`andon bundle …`: bring model bundles to where they are used, and look at them."""

from pathlib import Path
from typing import Annotated

import typer

bundle = typer.Typer(name="bundle", help="Deliver and check model bundles.", no_args_is_help=True)


@bundle.command()
def check(folder: Annotated[Path, typer.Argument(help="A bundle, or a folder of bundles.")]) -> None:
    """Check the hashes of weights, manifest and exported graphs, and print the model hash that a recipe may insist
    on."""
    from pipeline.delivery import check_bundles
    from pipeline.detectors.bundle import MANIFEST
    from pipeline.detectors.runtimes import check_graphs

    for name, info in check_bundles(folder).items():
        runtimes = check_graphs(folder if (folder / MANIFEST).is_file() else folder / name, info)
        graphs = f", graphs for {' and '.join(runtimes)}" if runtimes else ""
        typer.echo(f"{name}: {info.method}, {info.input.describe()}, model_hash {info.model_hash}{graphs}")


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
