"""`andon local …`: Kafka and Redis on this machine, and the folder with their data."""

import time
from typing import TYPE_CHECKING, Annotated

import typer

from workers.commands.options import Home

if TYPE_CHECKING:
    from workers.local.services import Services

local = typer.Typer(help="Kafka and Redis on this machine, without Docker or Java.", no_args_is_help=True)

Port = Annotated[int | None, typer.Option(min=1, max=65535, help="Port to listen on.", show_default="any free one")]

_WATCH_S = 0.5


@local.command()
def up(home: Home = None, kafka_port: Port = None, redis_port: Port = None) -> None:
    """Start Kafka and Valkey, and stop them on Ctrl-C. A service that the environment names is used as it is."""
    from workers.commands.ending import ends_as_by_ctrl_c
    from workers.local.services import Ports, services

    if kafka_port is not None and kafka_port == redis_port:
        raise typer.BadParameter(f"Kafka and Valkey can't share port {kafka_port}", param_hint="--redis-port")
    ends_as_by_ctrl_c()
    with services(home, _say, Ports(kafka_port, redis_port)) as running:
        try:  # from the first line on: whoever reads it may end this at once
            for name, value in running.environment.items():
                typer.echo(f"export {name}={value}")
            _say("running until Ctrl-C")
            _watch(running)
        except KeyboardInterrupt:
            _say("stopping")


@local.command()
def status(home: Home = None) -> None:
    """Say whether the services of this folder are running, and where. Exit code 1 when they are not."""
    from workers.local.data_folder import DataFolder

    folder = DataFolder.at(home)
    running = folder.running_services()
    if running is None:
        typer.echo(f"nothing is running from {folder.root}")
        raise typer.Exit(1)
    typer.echo(f"running from {folder.root}")
    for name, value in running.items():
        typer.echo(f"  {name}={value}")


@local.command()
def clean(home: Home = None) -> None:
    """Remove the folder with all local data; refused while its services run, and where Andon did not make it."""
    from workers.local.data_folder import DataFolder

    folder = DataFolder.at(home)
    removed = folder.clean()
    typer.echo(f"removed {folder.root}" if removed else f"nothing to remove: {folder.root} does not exist")


def _watch(running: "Services") -> None:
    from workers.local.errors import ServiceError

    servers = [server for server in (running.broker, running.valkey) if server]
    while all(server.running for server in servers):
        time.sleep(_WATCH_S)
    ended = [server for server in servers if not server.running]
    told = ", ".join(f"{server.name} (see {server.log})" for server in ended)
    raise ServiceError(f"ended by itself: {told}. {ended[0].full_disk}".removesuffix(". "))


def _say(text: str) -> None:
    typer.echo(text, err=True)
