"""The actuator of a configuration. Each protocol library is loaded only where a line uses it."""

from collections.abc import Callable
from datetime import datetime

from pipeline.events import now
from pipeline.extras import install
from workers.alerting.actuators.base import Actuator, ActuatorError, GivesWay, Guard, Image, ReadBack, never
from workers.alerting.actuators.config import ActuatorConfig, ModbusConfig, MqttConfig, OpcUaConfig, WebhookConfig


def open_actuator(line_id: str, config: ActuatorConfig, clock: Callable[[], datetime] = now) -> Actuator:
    """Connects to nothing yet. `clock`: what time it is at the plant. Raises ActuatorError where it can't even be set
    up, which says what to install or mend."""
    try:
        match config:
            case ModbusConfig():
                from workers.alerting.actuators.modbus import ModbusActuator

                return ModbusActuator(config)
            case OpcUaConfig():
                from workers.alerting.actuators.opcua import OpcUaActuator

                return OpcUaActuator(config)
            case MqttConfig():
                from workers.alerting.actuators.mqtt import MqttActuator

                return MqttActuator(line_id, config)
            case WebhookConfig():
                from workers.alerting.actuators.webhook import WebhookActuator

                return WebhookActuator(line_id, config, clock)
    except ImportError as error:
        raise ActuatorError(f"{config.type!r} needs the package {error.name!r}; {install('plc')}") from error
    except OSError as error:
        if error.errno is not None and error.filename is None:  # the process' own trouble, and no file's
            raise ActuatorError(str(error)) from error
        setting = "secret_file" if isinstance(config, WebhookConfig) else "password_file"
        raise ActuatorError(
            f"{setting}: {_said(error)}: put it there, readable for the user of this process, or name another file"
        ) from error


def _said(error: OSError) -> str:
    return f"cannot read {error.filename} ({error.strerror})" if error.filename else str(error)


class OpenedWhenUsed:
    """Set up by the first exchange, and by each that follows while it can't be: a secret that one line lacks is a fault
    of its PLC, and must not end the worker that watches all the others."""

    def __init__(self, address: str, open_: Callable[[], Actuator]) -> None:
        self.address = address
        self._open = open_
        self._opened: Actuator | None = None

    def read(self, gives_way: GivesWay = never) -> ReadBack:
        return self._actuator.read(gives_way)

    def exchange(self, image: Image, guard: Guard, gives_way: GivesWay = never) -> ReadBack:
        return self._actuator.exchange(image, guard, gives_way)

    def close(self) -> None:
        if self._opened is not None:
            self._opened.close()

    @property
    def _actuator(self) -> Actuator:
        if self._opened is None:
            self._opened = self._open()
        return self._opened
