"""The actuator of a configuration. Each protocol library is loaded only where a line uses it."""

from collections.abc import Callable
from datetime import datetime

from pipeline.errors import AndonError
from pipeline.events import now
from pipeline.extras import install
from workers.alerting.actuators.base import Actuator
from workers.alerting.actuators.config import ActuatorConfig, ModbusConfig, MqttConfig, OpcUaConfig, WebhookConfig


class ActuatorSetupError(AndonError):
    """An actuator that can't even be set up. The message names the line and what to install or mend."""


def open_actuator(line_id: str, config: ActuatorConfig, clock: Callable[[], datetime] = now) -> Actuator:
    """Connects to nothing yet. `clock`: what time it is at the plant. Raises ActuatorSetupError."""
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
        raise ActuatorSetupError(
            f"line {line_id}: the actuator {config.type!r} needs the package {error.name!r}; {install('plc')}"
        ) from error
    except OSError as error:
        raise ActuatorSetupError(f"line {line_id}: {error}") from error
