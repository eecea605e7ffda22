"""`andon console`: the operator's page, and who may log in to it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from workers.commands.options import MetricsPort

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

console = typer.Typer(name="console", invoke_without_command=True)
user = typer.Typer(name="user", help="Who may log in to the page, and as what.", no_args_is_help=True)
console.add_typer(user)

Data = Annotated[
    Path | None,
    typer.Option(
        envvar="ANDON_CONSOLE_DATA",
        help="Folder of users, the key of the sessions, feedback and new bundles.",
        show_default="ANDON_HOME/console",
        file_okay=False,
    ),
]
UsersFile = Annotated[
    Path | None,
    typer.Option("--users", envvar="ANDON_CONSOLE_USERS", help="Users file.", show_default="users.json in --data"),
]
RoleOption = Annotated[str, typer.Option(help="viewer, operator or engineer.")]


@console.callback()
def run(
    context: typer.Context,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8484,
    data: Data = None,
    users: UsersFile = None,
    session_key: Annotated[
        Path | None,
        typer.Option(
            envvar="ANDON_CONSOLE_SESSION_KEY",
            help="File with at least 32 random bytes that sign the sessions.",
            show_default="made in --data",
        ),
    ] = None,
    policies: Annotated[
        Path | None, typer.Option(help="The policy file of alerting: k of n, PLCs, and which lines are only on trial.")
    ] = None,
    notice: Annotated[str, typer.Option(help="Shown loud on every page, for instance that the PLC is simulated.")] = "",
    time_zone: Annotated[
        str | None,
        typer.Option(
            envvar="ANDON_TIME_ZONE", help="That times are told in, as Europe/Rome.", show_default="the machine's"
        ),
    ] = None,
    stale_after_s: Annotated[float, typer.Option(min=1, help="A picture older than this is greyed.")] = 10,
    feedback: Annotated[Path | None, typer.Option(help="File of the feedback.", show_default="in --data")] = None,
    feedback_mib: Annotated[int, typer.Option(min=1, help="It grows to no more than this.")] = 4096,
    proxy_from: Annotated[
        list[str] | None,
        typer.Option(help="Believe the user header of a proxy at this address. May be given several times."),
    ] = None,
    proxy_user_header: Annotated[str, typer.Option(help="Who, as the proxy says.")] = "X-Forwarded-User",
    proxy_role_header: Annotated[
        str, typer.Option(help="As what: viewer, operator or engineer, among words set apart by commas.")
    ] = "X-Forwarded-Role",
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            help="A name that browsers may reach the page by.", show_default="with a loopback --host only those"
        ),
    ] = None,
    tls_certificate: Annotated[Path | None, typer.Option(help="PEM file.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="PEM file.")] = None,
    behind_tls: Annotated[
        bool,
        typer.Option(
            help="A proxy in front ends TLS and alone reaches the page: cookies travel by TLS alone, and failed "
            "logins count for the address that it puts last into X-Forwarded-For."
        ),
    ] = False,
    metrics_port: MetricsPort = None,
) -> None:
    """Serve the operator's page: the wall, the lines and the alarms; acknowledge, reset, shelve and feedback.

    The first run makes a user `engineer` and prints a password for one login. More users: `andon console user add`.
    Kafka and Redis come from KAFKA_BOOTSTRAP and REDIS_URL.
    """
    if context.invoked_subcommand is not None:
        return
    import logging

    from pipeline.errors import AndonError
    from pipeline.files.config import read_config
    from pipeline.settings import read_settings
    from workers.alerting.policy import Policies
    from workers.console.desk import Options, open_desk
    from workers.console.identity import TrustedProxy
    from workers.console.metrics import exporting
    from workers.console.serve import LOOPBACK_NAMES, serve
    from workers.printable import begin_logging

    begin_logging()
    logging.getLogger("kafka").setLevel(logging.WARNING)
    if (tls_certificate is None) != (tls_key is None):
        raise AndonError("--tls-certificate and --tls-key belong together")
    secure = behind_tls or tls_certificate is not None
    names = frozenset(name.lower() for name in allow_host or ())
    loopback = host in LOOPBACK_NAMES
    options = Options(
        data=_data(data),
        users_file=users,
        session_key=session_key,
        feedback_file=feedback,
        feedback_mib=feedback_mib,
        policies=read_config(policies, Policies) if policies else None,
        notice=notice,
        zone=_zone(time_zone),
        stale_after_s=stale_after_s,
        proxy=TrustedProxy.at(proxy_from, proxy_user_header, proxy_role_header) if proxy_from else None,
        hosts=names | LOOPBACK_NAMES if loopback or names else None,
        secure=secure,
        behind_tls=behind_tls,
    )
    if not loopback and not secure:
        typer.echo("andon: passwords travel in clear: give --tls-certificate, or a proxy and --behind-tls", err=True)
    settings = read_settings()
    with open_desk(settings, options) as desk, exporting(desk, settings.andon_metrics_host, metrics_port):
        if options.proxy is None and (first := desk.users.bootstrap()):
            typer.echo(
                f"First run: log in as {first.name!r} with {first.password}  (for one login; then choose another)"
            )
        scheme = "https" if tls_certificate else "http"
        at = f"[{host}]" if ":" in host else host
        serve(desk, host, port, tls_certificate, tls_key, lambda: typer.echo(f"the page is at {scheme}://{at}:{port}"))


def _zone(name: str | None) -> ZoneInfo | None:
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(name) if name else None
    except (ValueError, OSError, LookupError) as error:
        raise typer.BadParameter(f"there is no time zone {name!r}", param_hint="--time-zone") from error


@user.command()
def add(
    name: Annotated[str, typer.Argument(help="Letters, digits, '_', '.', '@', '-'.")],
    role: RoleOption,
    password_file: Annotated[
        Path | None, typer.Option(help="Its first line is the password; - for standard input. Asked for otherwise.")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Give an existing user this role and password.")] = False,
    data: Data = None,
    users: UsersFile = None,
) -> None:
    """Add a user, or with --replace change one. A page that runs takes it up at once."""
    import sys

    from workers.console.users import Role, Users

    if role not in list(Role):
        raise typer.BadParameter(f"{role!r} is none of {', '.join(Role)}", param_hint="--role")
    if password_file is None:
        password = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    elif str(password_file) == "-":
        password = sys.stdin.readline().rstrip("\r\n")
    else:
        password = next(iter(password_file.read_text(encoding="utf-8").splitlines()), "")
    store = Users(users or _data(data) / "users.json")
    store.add(name, Role(role), password, replace=replace)
    typer.echo(f"{store.path}: {name} is {role}")


@user.command("list")
def list_users(data: Data = None, users: UsersFile = None) -> None:
    """Show who may log in."""
    from workers.console.users import Users

    store = Users(users or _data(data) / "users.json")
    for name, found in sorted(store.all.items()):
        typer.echo(f"{name}: {found.role.value}" + (", has yet to choose a password" if found.must_change else ""))
    if not store.all:
        typer.echo(f"{store.path}: nobody yet; `andon console user add` adds one, and so does the page's first run")


@user.command()
def remove(
    name: Annotated[str, typer.Argument(help="As `andon console user list` shows it.")],
    data: Data = None,
    users: UsersFile = None,
) -> None:
    """Remove a user. Their sessions end at once."""
    from workers.console.users import Users

    Users(users or _data(data) / "users.json").remove(name)
    typer.echo(f"{name} is removed")


def _data(data: Path | None) -> Path:
    from workers.local.data_folder import DataFolder

    if data is not None:
        return data
    home = DataFolder.at(None)
    home.create()
    return home.root / "console"
