"""Where a line's PLC is and how its signals lie there. Loads no protocol library."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from workers.alerting.section import Section

Address = Annotated[int, Field(ge=0, le=65535)]


class Codes(Section):
    """The command word for each level. PLC profiles differ in the numbers, so the plant names them."""

    RUN: int = Field(default=0, ge=0, le=65535)
    HOLD: int = Field(default=1, ge=0, le=65535)
    STOP: int = Field(default=2, ge=0, le=65535)
    REJECT: int = Field(default=3, ge=0, le=65535)

    @model_validator(mode="after")
    def _distinct(self) -> Codes:
        if len({self.RUN, self.HOLD, self.STOP, self.REJECT}) < 4:
            raise ValueError("two levels must not have the same code")
        return self


class _Common(Section):
    timeout_s: float = Field(default=1.0, gt=0, le=10, description="of one exchange with the PLC")
    cycle_s: float = Field(default=0.5, gt=0, le=10, description="between two exchanges while nothing changes")


class ModbusCoils(Section):
    """Signals as single coils. At least `stop` or `run_permit`."""

    stop: Address | None = None
    run_permit: Address | None = None
    reject: Address | None = None
    held: Address | None = None
    """An output of the PLC's own program: it has held the line. Read, never written."""


class ModbusConfig(_Common):
    """With `block`, everything goes out as one write of five holding registers, which the PLC's program takes or
    refuses as a whole (epoch high, epoch low, heartbeat, command word, run permit); the coils are then only read.
    Without it the coils are written directly, as plain remote I/O has them: no heartbeat, and no fencing at the PLC."""

    type: Literal["modbus"]
    host: str = Field(min_length=1)
    port: int = Field(default=502, ge=1, le=65535)
    unit: int = Field(default=1, ge=0, le=255)
    block: Annotated[int, Field(ge=0, le=65531)] | None = None
    coils: ModbusCoils = ModbusCoils()
    codes: Codes = Codes()

    @property
    def address(self) -> str:
        return f"modbus://{self.host}:{self.port}/{self.unit}"

    @property
    def can_reject(self) -> bool:
        return self.block is not None or self.coils.reject is not None

    @model_validator(mode="after")
    def _has_a_signal(self) -> ModbusConfig:
        if self.coils.stop is None and self.coils.run_permit is None:
            raise ValueError("coils: name at least one of stop and run_permit, or nothing could be read back")
        return self


class OpcUaNodes(Section):
    """Node ids, such as `ns=2;s=line-1.Command`."""

    command: str
    stop: str | None = None
    run_permit: str | None = None
    reject: str | None = None
    epoch: str | None = None
    heartbeat: str | None = None
    held: str | None = None

    @model_validator(mode="after")
    def _has_a_signal(self) -> OpcUaNodes:
        if self.stop is None and self.run_permit is None:
            raise ValueError("name at least one of stop and run_permit, or nothing could be read back")
        return self


class OpcUaConfig(_Common):
    """`command`, `run_permit`, `epoch` and `heartbeat` are written in one request; then all are read."""

    type: Literal["opcua"]
    url: str = Field(pattern=r"^opc\.tcp://")
    nodes: OpcUaNodes
    codes: Codes = Codes()
    user: str | None = None
    password_file: Path | None = None
    security: str | None = Field(
        default=None, description="as asyncua has it: Basic256Sha256,SignAndEncrypt,cert.pem,key.pem"
    )

    @property
    def address(self) -> str:
        return self.url

    @property
    def can_reject(self) -> bool:
        return True


class MqttConfig(_Common):
    """Publishes the level, retained and with QoS 1, to `{topic}/desired`; the PLC's gateway answers each with what it
    reads at the line in `{topic}/state`. The broker publishes `{topic}/link` = offline when Andon is lost."""

    type: Literal["mqtt"]
    host: str = Field(min_length=1)
    port: int = Field(default=1883, ge=1, le=65535)
    topic: str = Field(min_length=1, pattern=r"^[^#+\s]+$")
    user: str | None = None
    password_file: Path | None = None
    ca_file: Path | None = Field(default=None, description="turns TLS on")

    @property
    def address(self) -> str:
        return f"mqtt://{self.host}:{self.port}/{self.topic}"

    @property
    def can_reject(self) -> bool:
        return True


class WebhookConfig(_Common):
    """POSTs the level as JSON, signed with a shared secret; the answer says what stands at the line."""

    type: Literal["webhook"]
    url: str = Field(pattern=r"^https?://")
    secret_file: Path

    @property
    def address(self) -> str:
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.hostname}{':' + str(parts.port) if parts.port else ''}{parts.path}"

    @property
    def can_reject(self) -> bool:
        return True


ActuatorConfig = Annotated[ModbusConfig | OpcUaConfig | MqttConfig | WebhookConfig, Field(discriminator="type")]
