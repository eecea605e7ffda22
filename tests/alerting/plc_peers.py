"""PLC peers for tests: real protocol servers, each in a process that can be killed, frozen and brought back."""

import secrets
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from support.waiting import wait_until

from workers.alerting.actuators.base import Actuator
from workers.alerting.actuators.config import ModbusConfig, MqttConfig, OpcUaConfig, WebhookConfig
from workers.alerting.actuators.open import open_actuator
from workers.local.ports import accepts_connections, free_ports
from workers.local.process import ChildProcess

LINE = "line-1"
PROTOCOLS = ("modbus", "coils", "opcua", "mqtt", "webhook")
FENCED = ("modbus", "opcua", "mqtt", "webhook")
TIMEOUT_S = 0.6
"""Of what is not to answer."""
PATIENT_S = 5
"""Of what answers: a busy machine may take its time."""


@dataclass
class Peer:
    """`andon plc` with one protocol; for MQTT with a real broker beside it."""

    protocol: str
    folder: Path
    port: int
    arguments: list[str] = field(default_factory=list)
    inverted: tuple[str, ...] = ()
    """Signals wired the other way round, at the PLC and in the configuration."""
    broker: ChildProcess | None = None
    plc: ChildProcess | None = None

    def start(self) -> "Peer":
        if self.protocol == "mqtt" and (self.broker is None or not self.broker.running):
            self.broker = start_broker(self.folder, self.port)
        self.plc = self._child("plc", [sys.executable, "-m", "workers", "plc", "run", "--line", LINE, *self._options()])
        wait_for(lambda: "ready" in self._log(), f"the PLC: {self._log()}", 120)
        return self

    def kill(self) -> None:
        assert self.plc
        self.plc.kill()

    def end(self) -> None:
        for child in (self.plc, self.broker):
            if child is not None and child.running:
                child.stop(5)

    def actuator(self, timeout_s: float = PATIENT_S) -> Actuator:
        return open_actuator(LINE, config(self.protocol, self.port, self.folder, timeout_s, self.inverted))

    def _options(self) -> list[str]:
        options = {
            "modbus": ["--modbus-port", str(self.port)],
            "coils": ["--modbus-port", str(self.port)],
            "opcua": ["--opcua-port", str(self.port)],
            "mqtt": ["--mqtt", f"127.0.0.1:{self.port}"],
            "webhook": ["--webhook-port", str(self.port), "--webhook-secret", str(secret_file(self.folder))],
        }
        turned = [word for name in self.inverted for word in ("--inverted", name)]
        return [*options[self.protocol], *turned, *self.arguments]

    def _child(self, name: str, argv: list[str]) -> ChildProcess:
        return ChildProcess(name, argv, self.folder / f"{name}.log", Path.cwd())

    def _log(self) -> str:
        return (self.folder / "plc.log").read_text(errors="replace")


def start_broker(
    folder: Path, port: int, *, anonymous: bool = True, plugin: str = "", listener: str = ""
) -> ChildProcess:
    """amqtt, a broker of its own project, on loopback. plugin, listener: one more of each."""
    file = folder / "amqtt.yaml"
    file.write_text(
        f"listeners:\n  default:\n    type: tcp\n    bind: 127.0.0.1:{port}\n{listener}"
        "plugins:\n  amqtt.plugins.authentication.AnonymousAuthPlugin:\n"
        f"    allow_anonymous: {str(anonymous).lower()}\n{plugin}"
    )
    command = [sys.executable, "-m", "amqtt.scripts.broker_script", "-c", str(file)]
    broker = ChildProcess("amqtt", command, folder / "amqtt.log", folder)
    wait_for(lambda: accepts_connections(port), "the MQTT broker")
    return broker


def config(
    protocol: str, port: int, folder: Path, timeout_s: float = PATIENT_S, inverted: tuple[str, ...] = ()
) -> ModbusConfig | OpcUaConfig | MqttConfig | WebhookConfig:
    common: dict[str, object] = {"timeout_s": timeout_s, "cycle_s": 0.1}
    if protocol != "webhook":
        common["inverted"] = inverted
    match protocol:
        case "modbus" | "coils":
            coils = {"stop": 0, "run_permit": 1, "reject": 2, "held": 8}
            block = 0 if protocol == "modbus" else None
            return ModbusConfig.model_validate(
                {"type": "modbus", "host": "127.0.0.1", "port": port, "block": block, "coils": coils, **common}
            )
        case "opcua":
            names = ("Command", "Stop", "RunPermit", "Reject", "Epoch", "Heartbeat", "Held")
            keys = ("command", "stop", "run_permit", "reject", "epoch", "heartbeat", "held")
            nodes = {key: f"ns=2;s={LINE}.{name}" for key, name in zip(keys, names, strict=True)}
            url = f"opc.tcp://127.0.0.1:{port}/andon"
            return OpcUaConfig.model_validate({"type": "opcua", "url": url, "nodes": nodes, **common})
        case "mqtt":
            return MqttConfig.model_validate(
                {"type": "mqtt", "host": "127.0.0.1", "port": port, "topic": f"andon/{LINE}", **common}
            )
        case _:
            url = f"http://127.0.0.1:{port}/{LINE}"
            return WebhookConfig.model_validate(
                {"type": "webhook", "url": url, "secret_file": secret_file(folder), **common}
            )


def secret_file(folder: Path) -> Path:
    file = folder / "secret"
    if not file.exists():
        file.write_text(secrets.token_hex(16))
    return file


@contextmanager
def running_peer(protocol: str, folder: Path, *arguments: str, inverted: tuple[str, ...] = ()) -> Iterator[Peer]:
    (port,) = free_ports(1)
    peer = Peer(protocol, folder, port, list(arguments), inverted)
    try:
        yield peer.start()
    finally:
        peer.end()


def wait_for(true: Callable[[], bool], what: str, timeout_s: float = 90) -> None:
    wait_until(true, timeout_s, what)
