"""Where a line's PLC is and how its signals lie there. Loads no protocol library."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, field_validator, model_validator

from workers.alerting.section import Section

Address = Annotated[int, Field(ge=0, le=65535)]
BLOCK_REGISTERS = 5
COMMAND_REGISTER = 3
"""Of them: after epoch high, epoch low and heartbeat, before the run permit."""


class Codes(Section):
    """The command word for each level. PLC profiles differ in the numbers, so the plant names them."""

    RUN: int = Field(default=0, ge=0, le=65535)
    """Andon asks for nothing."""
    HOLD: int = Field(default=1, ge=0, le=65535)
    """Hold the line."""
    STOP: int = Field(default=2, ge=0, le=65535)
    """Stop it, until its own reset."""
    REJECT: int = Field(default=3, ge=0, le=65535)
    """Divert the parts."""

    @model_validator(mode="after")
    def _distinct(self) -> Codes:
        if len({self.RUN, self.HOLD, self.STOP, self.REJECT}) < 4:
            raise ValueError("two levels must not have the same code")
        return self


Signal = Literal["stop", "run_permit", "reject", "held"]


Place = tuple[str, str]
"""Where one signal lies, so that it is equal for two lines exactly where they would share it."""


def _can_be_asked(url: str, instead: str) -> str:
    """What no request could be sent to is refused here, where a person reads it, and not by the first stop. So is a
    login: whoever is told of the PLC, in alarms, logs and topics, is told its URL. Raises ValueError."""
    parts = urlsplit(url)
    if not parts.hostname or parts.port == 0 or not url.isprintable() or " " in url:
        raise ValueError("a URL has a host, no port 0 and no space")
    if "@" in parts.netloc:
        raise ValueError(f"a URL is told in alarms and logs, so it must hold no login: {instead}")
    return url


def _without_port(host: str) -> str:
    """`host: plc:502` would be looked up as it stands, at each stop and in vain. Raises ValueError."""
    with suppress(ValueError):
        ip_address(host)
        return host
    if not _HOST.fullmatch(host):
        raise ValueError("a name or an address stands here alone; its port belongs to the key `port`")
    return host


_HOST = re.compile(r"[^\s:/@\[\]]+")
Host = Annotated[str, Field(min_length=1), AfterValidator(_without_port)]


class _Common(Section):
    timeout_s: float = Field(default=1.0, gt=0, le=10, description="of one request to the PLC")
    cycle_s: float = Field(default=0.5, gt=0, le=10, description="between two exchanges while nothing changes")

    @property
    def can_reject(self) -> bool:
        """Whether it has a signal for it."""
        return True

    @property
    def runs_on(self) -> str | None:
        """Why this line would run on when it loses Andon, whatever the policy says; None where it can hold."""
        return None

    @property
    def believes(self) -> str | None:
        """Whom this line takes at its word although it could ask for proof; None where it can't, or does."""
        return None

    @property
    def orders(self) -> tuple[str, ...]:
        """Where below its address a stop is written. Empty where the address says it all."""
        return ()

    @abstractmethod
    def places(self) -> Iterator[tuple[str, Place]]:
        """Key and place of each signal that is this line's alone: what Andon writes, and what proves that it stands.
        Not `held`, which one program may well tell of two lines."""


class _WithPolarity(_Common):
    inverted: frozenset[Signal] = frozenset()
    """Signals whose wire says the opposite: a `stop` that holds at 0, a `run_permit` that permits at 0. Written and
    read so; replies, alarms and the audit log tell the meaning, never the wire."""

    def _must_name(self, signals: Section, where: str) -> None:
        if absent := sorted(name for name in self.inverted if getattr(signals, name) is None):
            raise ValueError(f"inverted: {', '.join(absent)} is not named under {where}")


class ModbusCoils(Section):
    """Signals as single coils. At least `stop` or `run_permit`."""

    stop: Address | None = None
    """1 = hold."""
    run_permit: Address | None = None
    """1 = the line may run."""
    reject: Address | None = None
    """1 = divert the parts."""
    held: Address | None = None
    """An output of the PLC's own program: it has held the line. Read, never written."""


class ModbusConfig(_WithPolarity):
    """With `block`, everything goes out as one write of five holding registers, which the PLC's program takes or
    refuses as a whole (epoch high, epoch low, heartbeat, command word, run permit); the coils are then only read.
    Without it the coils are written directly, as plain remote I/O has them: no heartbeat, and no fencing at the PLC.
    `inverted` is of coils; the words of the block always mean what they say."""

    type: Literal["modbus"]
    """Modbus TCP."""
    host: Host
    """Address or name of the PLC."""
    port: int = Field(default=502, ge=1, le=65535)
    """Of Modbus TCP."""
    unit: int = Field(default=1, ge=0, le=255)
    """Unit identifier."""
    block: Annotated[int, Field(ge=0, le=65536 - BLOCK_REGISTERS)] | None = None
    """The first of five holding registers, counted from 0: epoch high, epoch low, heartbeat, command, run permit."""
    coils: ModbusCoils = ModbusCoils()
    """Numbers of the coils, counted from 0: written without a `block`, read with one."""
    codes: Codes = Codes()
    """The command word for each level."""

    @property
    def address(self) -> str:
        return f"modbus://{self.host}:{self.port}/{self.unit}"

    @property
    def can_reject(self) -> bool:
        return self.block is not None or self.coils.reject is not None

    @property
    def orders(self) -> tuple[str, ...]:
        if self.block is not None:
            return (f"register {self.block + COMMAND_REGISTER}",)
        return tuple(f"coil {coil}" for name, coil in self.coils if coil is not None and name != "held")

    def places(self) -> Iterator[tuple[str, Place]]:
        unit = f"modbus://{self.host.lower()}:{self.port}/{self.unit}"
        if self.block is not None:
            for register in range(self.block, self.block + BLOCK_REGISTERS):
                yield "block", (unit, f"register {register}")
        for name, coil in self.coils:
            if coil is not None and name != "held":
                yield f"coils.{name}", (unit, f"coil {coil}")

    @model_validator(mode="after")
    def _has_a_signal(self) -> ModbusConfig:
        if self.coils.stop is None and self.coils.run_permit is None:
            raise ValueError("coils: name at least one of stop and run_permit, or nothing could be read back")
        self._must_name(self.coils, "coils")
        return self

    @property
    def holds_at_zero(self) -> bool:
        """Whether a coil holds the line once remote I/O, having lost its master, lets all of them fall."""
        permit = self.coils.run_permit is not None and "run_permit" not in self.inverted
        return permit or "stop" in self.inverted

    @property
    def runs_on(self) -> str | None:
        if self.block is not None or self.holds_at_zero:
            return None
        return (
            "remote I/O lets its coils fall to 0, and none of these holds the line at 0: name coils.run_permit, not "
            "inverted, or a stop that is inverted (and so wired), or a block with its heartbeat"
        )


_NODE_ID = re.compile(r"(ns=\d{1,5};|nsu=[^;]+;)?(i=\d{1,10}|g=[0-9A-Fa-f-]{36}|b=[A-Za-z0-9+/]+=*|s=.+)")


class OpcUaNodes(Section):
    """Node ids, such as `nsu=urn:maker:plc;s=line-1.Command`, or `ns=2;s=line-1.Command`. A server may number its
    namespaces anew when it starts; the URI stays."""

    command: str
    """The command word."""
    stop: str | None = None
    """1 = hold."""
    run_permit: str | None = None
    """1 = the line may run."""
    reject: str | None = None
    """1 = divert the parts."""
    epoch: str | None = None
    """Counts takeovers. The program must refuse a lower one than it has seen."""
    heartbeat: str | None = None
    """Moves while the line is watched. The program must watch it; hold-on-loss needs it."""
    held: str | None = None
    """An output of the PLC's own program: it has held the line. Read, never written."""

    @field_validator("*")
    @classmethod
    def _is_a_node_id(cls, text: str | None) -> str | None:
        if text is not None and not _NODE_ID.fullmatch(text):
            raise ValueError(
                "no node id: write ns=2;s=Name, nsu=urn:maker:plc;s=Name, or i= and a number in place of s="
            )
        return text

    @model_validator(mode="after")
    def _has_a_signal(self) -> OpcUaNodes:
        if self.stop is None and self.run_permit is None:
            raise ValueError("name at least one of stop and run_permit, or nothing could be read back")
        return self


SECURITY_POLICIES = ("Basic256Sha256", "Aes128Sha256RsaOaep", "Aes256Sha256RsaPss", "Basic256", "Basic128Rsa15")
"""That asyncua has."""


class OpcUaConfig(_WithPolarity):
    """`command`, `run_permit`, `epoch` and `heartbeat` are written in one request; then all are read."""

    type: Literal["opcua"]
    """OPC UA."""
    url: str = Field(pattern=r"^opc\.tcp://")
    """As opc.tcp://192.0.2.21:4840, without a password."""
    nodes: OpcUaNodes
    """Ids of the nodes."""
    codes: Codes = Codes()
    """The command word for each level."""
    user: str | None = None
    """Who Andon logs in as."""
    password_file: Path | None = None
    """File with the password, read again for each connection."""
    security: str | None = Field(
        default=None,
        pattern=rf"^({'|'.join(SECURITY_POLICIES)}),(Sign|SignAndEncrypt),[^,]+,[^,]+(,[^,]+)?$",
        description="as asyncua has it: Basic256Sha256,SignAndEncrypt,own.pem,own-key.pem,server.der",
    )

    @field_validator("url")
    @classmethod
    def _can_be_asked(cls, url: str) -> str:
        return _can_be_asked(url, "name `user` and `password_file`")

    @property
    def address(self) -> str:
        return self.url

    @property
    def runs_on(self) -> str | None:
        return None if self.nodes.heartbeat else "nodes.heartbeat is missing, so the PLC can't tell that it lost Andon"

    @property
    def believes(self) -> str | None:
        if self.security is None:
            return "any server is believed, and nothing is encrypted: name `security`, with the server's certificate"
        if self.security.count(",") < 4:
            return "any server is believed: put its certificate last into `security` (andon alerting pin fetches it)"
        return None

    @property
    def orders(self) -> tuple[str, ...]:
        return (self.nodes.command, *filter(None, (self.nodes.run_permit,)))

    def places(self) -> Iterator[tuple[str, Place]]:
        for name, node_id in self.nodes:
            if node_id is not None and name != "held":
                yield f"nodes.{name}", (self.url, node_id)

    @model_validator(mode="after")
    def _inverts_what_is_there(self) -> OpcUaConfig:
        self._must_name(self.nodes, "nodes")
        return self


class MqttConfig(_WithPolarity):
    """Publishes the level with QoS 1 to `{topic}/desired`, retained unless it is a stop that the line has yet to
    confirm; the PLC's gateway answers each with what it reads at the line in `{topic}/state`. The broker publishes
    `{topic}/link` = offline when Andon is lost. `inverted` is of the messages' booleans, for a gateway that hands them
    on as bits; `level` always means what it says."""

    type: Literal["mqtt"]
    """MQTT, by way of a gateway at the line."""
    host: Host
    """Address or name of the broker."""
    port: int = Field(default=1883, ge=1, le=65535)
    """Of the broker; 8883 as a rule with `ca_file`."""
    topic: str = Field(min_length=1, pattern=r"^[^#+\s]+$")
    """Of the line: Andon writes below it, and the gateway answers there."""
    user: str | None = None
    """Who Andon logs in as."""
    password_file: Path | None = None
    """File with the password, read again for each connection."""
    ca_file: Path | None = Field(
        default=None, description="turns TLS on: the PEM file of the authority behind the broker's certificate"
    )

    @property
    def address(self) -> str:
        return f"mqtt://{self.host}:{self.port}/{self.topic}"

    @property
    def believes(self) -> str | None:
        if self.ca_file is None:
            return "any broker is believed, and nothing is encrypted, a password neither: name `ca_file`"
        return None

    def places(self) -> Iterator[tuple[str, Place]]:
        yield "topic", (f"mqtt://{self.host.lower()}:{self.port}", self.topic)


class WebhookConfig(_Common):
    """POSTs the level as JSON, signed with a shared secret; the answer says what stands at the line."""

    type: Literal["webhook"]
    """HTTP, by way of a gateway at the line."""
    url: str = Field(pattern=r"^https?://")
    """That each level is posted to, without a password."""
    secret_file: Path
    """File with the shared secret that signs, read again for each request."""

    @field_validator("url")
    @classmethod
    def _can_be_asked(cls, url: str) -> str:
        parts = urlsplit(_can_be_asked(url, "the signature says who asks"))
        if not (parts.path + parts.query).isascii():
            raise ValueError("letters beyond ASCII are written as %C3%BC in the path of a URL")
        return url

    @property
    def address(self) -> str:
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.hostname}{':' + str(parts.port) if parts.port else ''}{parts.path}"

    @property
    def believes(self) -> str | None:
        if self.url.startswith("http:"):
            return "whoever answers is believed: the question is signed, the answer is not. Name an `https` URL"
        return None

    def places(self) -> Iterator[tuple[str, Place]]:
        yield "url", (self.address, urlsplit(self.url).query)


ActuatorConfig = Annotated[ModbusConfig | OpcUaConfig | MqttConfig | WebhookConfig, Field(discriminator="type")]
