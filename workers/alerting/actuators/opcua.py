"""OPC UA. The library is asynchronous, so its client lives on a loop of its own thread."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import termios
import threading
import time
from collections.abc import Coroutine
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, TypeVar

from asyncua import Client, ua
from asyncua.common.ua_utils import data_type_to_variant_type

from pipeline.events import now
from pipeline.files.secret_file import SecretFile
from pipeline.telling import Every
from pipeline.unsent import FORGET_UNSENT
from workers.alerting.actuators.base import (
    ActuatorError,
    GivesWay,
    Guard,
    Image,
    LeaseLostError,
    ReadBack,
    name_of,
    never,
    on_wire,
    read_until,
)
from workers.alerting.actuators.certificates import application_uri, remarks
from workers.alerting.actuators.config import OpcUaConfig

log = logging.getLogger(__name__)
logging.getLogger("asyncua").setLevel(logging.CRITICAL)  # the driver tells each fault once

T = TypeVar("T")

SESSION_MS = 60_000
"""A session of ours that died is forgotten by the server after so long; its sessions are few."""
HANG_UP_S = 1.0
REQUESTS = 2
CONNECTING_REQUESTS = 9
"""So many times the time-out of one request. To connect takes six, and more where the server asks for security."""
TELL_DATES_EVERY_S = 86_400.0
_REFUSALS = {
    "BadCertificateTimeInvalid": "it goes by its own clock: look at that, too",
    "BadCertificateUriInvalid": "our own certificate has to name an application URI: subjectAltName=URI:urn:…",
}
_LOGIN_REFUSED = ("BadUserAccessDenied", "BadIdentityToken")
_SAYS_NOTHING = "has it the certificate that `security` names last, and does it trust ours?"
"""A server that can't read us."""
_WRITTEN = ("epoch", "heartbeat", "command", "run_permit")
_MOST = {
    ua.VariantType.SByte: 0x7F,
    ua.VariantType.Byte: 0xFF,
    ua.VariantType.Int16: 0x7FFF,
    ua.VariantType.UInt16: 0xFFFF,
}
"""What nodes hold that are narrower than the 32 bits of an epoch. A heartbeat and a code have 16: an INT of a PLC is
narrower, by its sign."""


class OpcUaActuator:
    def __init__(self, config: OpcUaConfig) -> None:
        self._config = config
        self._password = SecretFile(config.password_file) if config.password_file else None
        self._client: Client | None = None
        self._farewell: Future[None] | None = None
        """The last, which whoever closes waits for: a session that is not ended keeps its place at the server."""
        self._at: dict[str, ua.NodeId] = {}
        """Node ids of the configuration, as this connection numbers them."""
        self._uris: dict[int, str] = {}
        """What the namespaces that are named by number were at the first connection."""
        self._types: dict[str, ua.VariantType] = {}
        self._telling_dates = Every(TELL_DATES_EVERY_S)
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._spin, name="opcua", daemon=True).start()

    @property
    def address(self) -> str:
        return self._config.address

    def read(self, gives_way: GivesWay = never) -> ReadBack:
        return self._run(self._read())

    def exchange(self, image: Image, guard: Guard, gives_way: GivesWay = never) -> ReadBack:
        self._tell_dates()
        self._run(self._write(image, guard))
        return read_until(self.read, image, self._config.timeout_s)

    def close(self) -> None:
        self._hang_up()
        with suppress(Exception):
            if self._farewell:
                self._farewell.result(HANG_UP_S * 2)
        with suppress(RuntimeError):  # closed already
            self._loop.call_soon_threadsafe(self._loop.stop)

    def _spin(self) -> None:
        self._loop.run_forever()
        self._loop.close()  # or its descriptors stay open, for each takeover of a line

    def _tell_dates(self) -> None:
        """Each day anew: what only a start tells is forgotten in a year without one."""
        if self._telling_dates.due():
            for remark in remarks(self._config, now()):
                log.warning("%s: %s", self._config.url, remark)

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        """From the driver's thread. Any fault ends the connection; the next call makes another. A server that hangs is
        found out by the first request; this limit is for one that answers slowly, or drips."""
        connecting = self._client is None
        timeout_s = self._config.timeout_s * (CONNECTING_REQUESTS if connecting else REQUESTS)
        began_s = time.monotonic()
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(timeout_s)
        except LeaseLostError:
            raise
        except ActuatorError:
            self._hang_up()
            raise
        except Exception as error:
            future.cancel()
            self._hang_up()
            why = str(error) or f"no answer in {time.monotonic() - began_s:.1f} s ({type(error).__name__})"
            if "No matching endpoints" in why:
                why = (
                    f"the server offers no such connection ({why}): compare its security with `security` in the policy"
                )
            elif connecting and any(code in why for code in _LOGIN_REFUSED):
                why += "; look at `user`, its rights there and `password_file`"
            elif connecting and self._config.security and not isinstance(error, ConnectionRefusedError):
                hint = next((said for code, said in _REFUSALS.items() if code in why), _SAYS_NOTHING)
                why = "; ".join([why, hint, *remarks(self._config, now())])
            raise ActuatorError(why) from error

    async def _connected(self) -> Client:
        if self._client is None:
            config = self._config
            client = Client(config.url, timeout=config.timeout_s)
            client.name = "andon"
            client.session_timeout = SESSION_MS
            if config.user:
                client.set_user(config.user)
                client.set_password(self._password.text_as_of_now() if self._password else "")
            if config.security:
                client.application_uri = application_uri(config) or client.application_uri
                await client.set_security_string(config.security)
            self._client = client  # who gives up now hangs up, and waits for that at the end
            await client.connect()
            if transport := _transport(client):
                transport.get_extra_info("socket").setsockopt(*FORGET_UNSENT)
            self._at = await self._numbered(client)
            self._types = await self._types_of(client)
            self._numbers_fit()
        return self._client

    async def _numbered(self, client: Client) -> dict[str, ua.NodeId]:
        """A server that starts anew may give a namespace another number: by the old one, a node of the same name in a
        neighbour's would take the stop, and prove it."""
        uris = await client.get_namespace_array()
        found: dict[str, ua.NodeId] = {}
        for _, text in self._config.nodes:
            if text is not None:
                at = ua.NodeId.from_string(text)
                if isinstance(at, ua.ExpandedNodeId):
                    at = _by_number(at, uris)
                elif at.NamespaceIndex < len(uris):
                    self._is_as_before(at.NamespaceIndex, uris[at.NamespaceIndex])
                found[text] = at
        return found

    def _is_as_before(self, number: int, uri: str) -> None:
        was = self._uris.setdefault(number, uri)
        if was != uri:
            raise ActuatorError(
                f"namespace {number} was {was} and is {uri} now, so the nodes may be another's: write nsu={was}; for "
                f"ns={number}; in the policy, or start alerting again if this is right"
            )

    async def _types_of(self, client: Client) -> dict[str, ua.VariantType]:
        """What each node wants to be written as. One request for all, where the types are OPC UA's own."""
        named = self._written()
        answers = await client.read_attributes(
            [client.get_node(self._at[text]) for text in named.values()], ua.AttributeIds.DataType
        )
        return {
            name: await data_type_to_variant_type(client.get_node(_good(named[name], answer)))
            for name, answer in zip(named, answers, strict=True)
        }

    def _most(self, name: str) -> int:
        return _MOST.get(self._types[name], 0xFFFFFFFF)

    def _numbers_fit(self) -> None:
        """Known before the first stop, which alone might not fit, and before the takeover that will not."""
        if self._types.get("epoch") in _MOST:
            log.warning(
                "%s: %s holds numbers up to %d, and an epoch counts takeovers: past that nothing can be written, no "
                "stop either. Give it 32 bits, as a UDINT has",
                self._config.url,
                self._config.nodes.epoch,
                self._most("epoch"),
            )
        if max(code for _, code in self._config.codes) > self._most("command"):
            held, node = self._most("command"), self._config.nodes.command
            raise ActuatorError(f"{node} holds numbers up to {held}, and `codes` in the policy has a higher one")

    def _written(self) -> dict[str, str]:
        found = {name: getattr(self._config.nodes, name) for name in _WRITTEN}
        return {name: node_id for name, node_id in found.items() if node_id is not None}

    async def _write(self, image: Image, guard: Guard) -> None:
        client = await self._connected()
        values = {
            "epoch": image.epoch,
            "heartbeat": image.heartbeat,
            "command": getattr(self._config.codes, image.level),
            "run_permit": on_wire("run_permit", image.run_permit, self._config.inverted),
        }
        named = self._written()
        if "heartbeat" in named:  # goes round where its node ends: one that does not fit would take the stop with it
            values["heartbeat"] %= self._most("heartbeat") + 1
        if "epoch" in named and image.epoch > self._most("epoch"):
            raise ActuatorError(
                f"{named['epoch']} holds numbers up to {self._most('epoch')}, and this is takeover {image.epoch} of "
                "its line: nothing can be written, no stop either. Give it 32 bits, or leave `epoch` out of the policy"
            )
        guard()
        results = await client.write_values(
            [client.get_node(self._at[text]) for text in named.values()],
            [ua.DataValue(ua.Variant(values[name], self._types[name])) for name in named],
            raise_on_partial_error=False,
        )
        for node_id, status in zip(named.values(), results, strict=True):
            _check(node_id, status, "written")

    async def _read(self) -> ReadBack:
        client, nodes = await self._connected(), self._config.nodes
        named = {name: node_id for name, node_id in nodes if node_id is not None}
        answers = await client.read_attributes([client.get_node(self._at[text]) for text in named.values()])
        found = {name: _value(named[name], answer) for name, answer in zip(named, answers, strict=True)}
        found["level"] = name_of(self._config.codes, found.pop("command"))
        return ReadBack(**found).turned(self._config.inverted)

    def _hang_up(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            self._farewell = asyncio.run_coroutine_threadsafe(_quietly(client), self._loop)


def certificate_of(url: str, timeout_s: float) -> bytes:
    """What the server at `url` shows, as DER. Whether it is the right server is for a person to compare. Raises
    ActuatorError."""

    async def ask() -> list[ua.EndpointDescription]:
        return await asyncio.wait_for(Client(url, timeout=timeout_s).connect_and_get_server_endpoints(), 3 * timeout_s)

    try:
        shown = [bytes(endpoint.ServerCertificate) for endpoint in asyncio.run(ask()) if endpoint.ServerCertificate]
    except OSError as error:
        known = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        why = known or str(error) or "no answer in time"
        raise ActuatorError(
            f"{url}: no OPC UA server answers there ({why}). Is the address right, with its port, as a rule 4840, and "
            "is the server turned on?"
        ) from error
    except Exception as error:  # the library raises what it likes on what a server answers
        raise ActuatorError(f"{url}: {str(error) or type(error).__name__}") from error
    if not shown:
        raise ActuatorError(f"{url} shows no certificate: turn security on there")
    return shown[0][: 4 + int.from_bytes(shown[0][2:4])]  # its own; what it was signed by may follow


def _by_number(at: ua.ExpandedNodeId, uris: list[str]) -> ua.NodeId:
    if at.NamespaceUri not in uris:
        raise ActuatorError(f"the server has no namespace {at.NamespaceUri}; it has {', '.join(uris[1:])}")
    return ua.NodeId(at.Identifier, uris.index(at.NamespaceUri), at.NodeIdType)


def _good(node_id: str, answer: ua.DataValue) -> Any:
    """Raises ActuatorError for all but a good value: a node that is not there, or whose server has lost the PLC behind
    it, must not pass for a signal that the line does not have, nor what it said last for how the line stands."""
    _check(node_id, answer.StatusCode, "read")
    return answer.Value.Value if answer.Value is not None else None


def _check(node_id: str, status: ua.StatusCode | None, done: str) -> None:
    if status is not None and not status.is_good():
        raise ActuatorError(f"{node_id} can't be {done}: {status.doc} ({status.name})")


def _value(node_id: str, answer: ua.DataValue) -> Any:
    value = _good(node_id, answer)
    if not isinstance(value, bool | int):
        raise ActuatorError(f"{node_id} holds {value!r}, which is neither a number nor a Boolean")
    return value


def _transport(client: Client) -> Any:
    """None: the server has hung up, as the next request tells."""
    return client.uaclient.protocol and client.uaclient.protocol.transport


async def _quietly(client: Client) -> None:
    """A peer that hangs must not hold us up, and how it ends is of no account. Where its system has not taken all that
    was sent it gets no farewell: meanwhile the rest might come, behind what the next connection writes."""
    transport = _transport(client)
    try:
        if transport and any(fcntl.ioctl(transport.get_extra_info("socket"), termios.TIOCOUTQ, bytes(4))):
            transport.abort()
        await asyncio.wait_for(client.disconnect(), HANG_UP_S)
    except Exception:
        client.disconnect_socket()
