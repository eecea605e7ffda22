"""Everything that serves the ladders of a simulated PLC."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from pipeline.errors import AndonError
from workers.plc.ladder import Ladder
from workers.plc.station import Station


class Sides:
    """Raises AndonError for options that do not fit, and where a port is taken or no broker answers."""

    def __init__(
        self,
        ladders: Sequence[Ladder],
        host: str,
        modbus_port: int | None,
        opcua_port: int | None,
        mqtt: str | None,
        webhook_port: int | None,
        webhook_secret: Path | None,
    ) -> None:
        self.served: list[str] = []
        by_line = {ladder.line_id: ladder for ladder in ladders}
        with ExitStack() as started:
            ports = (("--modbus-port", modbus_port), ("--opcua-port", opcua_port))
            with _naming(" ".join(f"{option} {port}" for option, port in ports if port is not None)):
                started.enter_context(Station(ladders, host, modbus_port, opcua_port))
            if modbus_port is not None:
                self.served.append(f"modbus {host}:{modbus_port}")
            if opcua_port is not None:
                self.served.append(f"opc.tcp://{host}:{opcua_port}/andon")
            if webhook_port is not None:
                from workers.plc.message_sides import WebhookGateway

                if webhook_secret is None:
                    raise AndonError("--webhook-port needs --webhook-secret: nothing unsigned is taken")
                secret = webhook_secret.read_bytes().strip()
                if not secret:
                    raise AndonError(f"--webhook-secret {webhook_secret} is empty: anybody could sign with it")
                with _naming(f"--webhook-port {webhook_port}"):
                    started.callback(WebhookGateway(by_line, host, webhook_port, secret).stop)
                self.served.append(f"http://{host}:{webhook_port}/")
            if mqtt is not None:
                from workers.plc.message_sides import MqttGateway

                broker, _, port = mqtt.rpartition(":")
                if not broker or not port.isdigit():
                    raise AndonError(f"--mqtt {mqtt}: name the broker as host:port")
                with _naming(f"--mqtt {mqtt}"):
                    started.callback(MqttGateway(by_line, broker, int(port)).stop)
                self.served.append(f"mqtt {mqtt}")
            self._open = started.pop_all()

    def __enter__(self) -> "Sides":
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()


@contextmanager
def _naming(options: str) -> Iterator[None]:
    """Which of them could not be had: what the libraries raise rarely says."""
    try:
        yield
    except (OSError, RuntimeError, ValueError) as error:
        raise AndonError(f"the simulated PLC can't start with {options}: {error}") from error
