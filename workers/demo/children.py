"""The processes of the demo."""

import secrets
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from workers.local.data_folder import DataFolder
from workers.local.ports import free_ports, is_free
from workers.local.process import ChildProcess
from workers.local.server import LocalServer

STOP_GRACE_S = 20.0
PAGE_PORT = 8484
PAGE_USER = "demo"


@contextmanager
def child(
    name: str, arguments: list[str], folder: DataFolder, environment: Mapping[str, str]
) -> Iterator[ChildProcess]:
    """One `andon …`, ended with the block."""
    command = [sys.executable, "-m", "workers", *arguments]
    started = ChildProcess(name, command, folder.logs / f"{name}.log", Path.cwd(), environment)
    try:
        yield started
    finally:
        if started.running:
            started.stop(STOP_GRACE_S)


@contextmanager
def ending(server: LocalServer) -> Iterator[None]:
    """Ends the server with the block, if it was launched."""
    try:
        yield
    finally:
        server.stop()


@contextmanager
def operator_page(
    folder: DataFolder, policies: Path, environment: Mapping[str, str], say: Callable[[str], None]
) -> Iterator[ChildProcess]:
    """The page, with one user of this run. It comes up while the models load; the demo does not wait for it."""
    from workers.console.users import Role, Users

    data = folder.runs / "demo" / "console"
    password = secrets.token_urlsafe(9)
    Users(data / "users.json").add(PAGE_USER, Role.ENGINEER, password)
    port = PAGE_PORT if is_free(PAGE_PORT) else free_ports(1)[0]
    notice = "Demo: replayed images, simulated PLC"
    arguments = ["console", "--port", str(port), "--data", str(data), "--policies", str(policies), "--notice", notice]
    with child("console", arguments, folder, environment) as page:
        say(f"operator's page: http://127.0.0.1:{port}  log in as {PAGE_USER} with {password}")
        yield page
