"""Everything that serves the ladders of a simulated PLC."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from pipeline.errors import AndonError
from workers.plc.ladder import Ladder
from workers.plc.station import Station


class Sides:
    """Raises AndonError for options that do not fit, OSError when a port is taken."""

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
                started.callback(WebhookGateway(by_line, host, webhook_port, secret).stop)
                self.served.append(f"http://{host}:{webhook_port}/")
            if mqtt is not None:
                from workers.plc.message_sides import MqttGateway

                broker, _, port = mqtt.rpartition(":")
                if not broker or not port.isdigit():
                    raise AndonError(f"--mqtt {mqtt}: name the broker as host:port")
                started.callback(MqttGateway(by_line, broker, int(port), "andon").stop)
                self.served.append(f"mqtt {mqtt}")
            self._open = started.pop_all()

    def __enter__(self) -> "Sides":
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()
