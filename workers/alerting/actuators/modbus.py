"""Modbus TCP. The signals are read back by address, since the library's order of bits has changed between releases."""

from __future__ import annotations

import logging
import select
import socket
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from pymodbus import ModbusException
from pymodbus.client import ModbusTcpClient
from pymodbus.constants import ExcCodes
from pymodbus.exceptions import ConnectionException, ModbusIOException

from pipeline.unsent import FORGET_UNSENT
from workers.alerting.actuators.base import (
    ActuatorError,
    GaveWayError,
    GivesWay,
    Guard,
    Image,
    ReadBack,
    name_of,
    never,
    on_wire,
    read_until,
)
from workers.alerting.actuators.config import BLOCK_REGISTERS, ModbusConfig
from workers.alerting.actuators.names import Name, numeric

logging.getLogger("pymodbus").setLevel(logging.CRITICAL)  # the driver tells each fault once


_WRITTEN = ("stop", "run_permit", "reject")
"""Coils that Andon writes, in this order: the stop first."""
_LATER = (ExcCodes.ACKNOWLEDGE, ExcCodes.DEVICE_BUSY, ExcCodes.GATEWAY_PATH_UNAVIABLE, ExcCodes.GATEWAY_NO_RESPONSE)
"""Exceptions that a device ends by itself. The request is to be repeated, the protocol says."""
KNOCK_AGAIN_S = 0.02


class _Client(ModbusTcpClient):  # type: ignore[misc]
    def recv(self, size: int | None) -> bytes:
        """As the library's, which waits by `select`: that takes no descriptor above 1023, as a worker of some hundred
        PLCs has, and each answer there passed for a closed connection."""
        if size is not None or self.socket is None:
            return bytes(super().recv(size))
        began_s = time.monotonic()
        if not _is_readable(self.socket, self.comm_params.timeout_connect or 0):
            return b""
        return self.socket.recv(4096) or bytes(self._handle_abrupt_socket_close(None, [], time.monotonic() - began_s))


class ModbusActuator:
    """Keeps one connection, where the device lets it: many close after each answer, and get one for each request."""

    def __init__(self, config: ModbusConfig) -> None:
        self._config = config
        self._name = Name(config.host)
        self._client: ModbusTcpClient | None = None
        self._has_answered = False
        """On this connection. One that is closed then was not refused."""
        self._peer: str | None = None
        """The address that answered, until a fault: a name may lead to two devices, and what is written to one must
        not be proved by the other."""
        self._gives_way: GivesWay = never

    @property
    def address(self) -> str:
        return self._config.address

    def read(self, gives_way: GivesWay = never) -> ReadBack:
        return self._guarded(self._read, gives_way)

    def exchange(self, image: Image, guard: Guard, gives_way: GivesWay = never) -> ReadBack:
        def write_and_read() -> ReadBack:
            self._connected()
            guard()
            self._write(image, guard)
            return read_until(self._read, image, self._config.timeout_s)

        return self._guarded(write_and_read, gives_way)

    def close(self) -> None:
        self._hang_up()
        self._peer = None

    def _hang_up(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def _ask(self, what: str, request: Callable[[ModbusTcpClient], Any], again: Guard = lambda: None) -> Any:
        """Once more where a connection is closed that has answered before: that says nothing of this request, which may
        be repeated, since it reads or writes a level. `again` is asked before it is, and before it leaves by another
        connection: both take time. `what`: the request, for who has to mend an address that the device refuses."""
        if self._gives_way():
            raise GaveWayError
        deadline_s = time.monotonic() + self._config.timeout_s
        repeats = False
        while True:
            was, client = self._client, self._connected()
            if repeats or client is not was:
                again()
            repeats = True
            try:
                answer = request(client)
            except (ConnectionException, ConnectionError):
                if not self._has_answered and not self._may_knock_again(deadline_s):
                    raise
                self._hang_up()
                continue
            self._has_answered = True
            if self._peer is None and client.socket is not None:
                self._peer = numeric(client.socket.getpeername())
            if not answer.isError():
                return answer
            if answer.exception_code not in _LATER or not self._may_knock_again(deadline_s):
                raise ActuatorError(f"refused to {what}: {_name_of(answer.exception_code)}")

    def _connected(self) -> ModbusTcpClient:
        if self._client is not None and _is_closed(self._client.socket):
            self._hang_up()
        if self._client is None:
            self._client, self._has_answered = self._connect(), False
        return self._client

    def _connect(self) -> ModbusTcpClient:
        config, deadline_s = self._config, time.monotonic() + self._config.timeout_s
        while True:
            for host in [self._peer] if self._peer else self._name.addresses(config.timeout_s):
                client = _Client(
                    host, port=config.port, timeout=config.timeout_s, retries=0, reconnect_delay=0, name="andon"
                )
                if client.connect():
                    client.socket.setsockopt(*FORGET_UNSENT)
                    return client
                client.close()
            if not self._may_knock_again(deadline_s):
                raise ActuatorError("nothing answers there")

    def _may_knock_again(self, deadline_s: float) -> bool:
        """Where somebody has just answered; after a moment, in which a small device opens its socket anew."""
        if self._peer is None or time.monotonic() >= deadline_s:
            return False
        time.sleep(KNOCK_AGAIN_S)
        return True

    def _guarded(self, do: Callable[[], ReadBack], gives_way: GivesWay) -> ReadBack:
        self._gives_way = gives_way
        try:
            return do()
        except (ModbusException, OSError) as error:
            self.close()  # a late answer must not be taken for that of the next request
            raise ActuatorError(self._told(error)) from error
        except ActuatorError:
            self.close()
            raise
        finally:
            self._gives_way = never

    def _told(self, error: Exception) -> str:
        """pymodbus speaks of its retries, and calls an answer of another unit none."""
        if isinstance(error, ConnectionException | ConnectionError):
            return "it closed the connection instead of answering"
        if isinstance(error, ModbusIOException):
            if "transaction id" in str(error):
                return "it answers without the number of the request (transaction id), so each might be a late one"
            return f"no answer of unit {self._config.unit} in {self._config.timeout_s:g} s; is that its unit?"
        return str(error)

    def _write(self, image: Image, again: Guard) -> None:
        config, unit = self._config, self._config.unit
        if config.block is not None:
            code = getattr(config.codes, image.level)
            high, low = image.epoch >> 16 & 0xFFFF, image.epoch & 0xFFFF
            values = [high, low, image.heartbeat, code, int(image.run_permit)]
            at = config.block
            self._ask(
                f"write the block at {at}", lambda client: client.write_registers(at, values, device_id=unit), again
            )
            return

        began = False

        def go_on() -> None:
            try:
                again()
            except ActuatorError:
                # Half of a stop that is void by now would hold the line all the same, and prove nothing.
                if not (began and image.stop):
                    raise

        for name in _WRITTEN:
            address = getattr(config.coils, name)
            if address is not None:
                go_on()
                value = on_wire(name, getattr(image, name), config.inverted)
                write = partial(_write_coil, address=address, value=value, unit=unit)
                self._ask(f"write coil {address} ({name})", write, go_on)
                began = True

    def _read(self) -> ReadBack:
        config, unit = self._config, self._config.unit
        found: dict[str, Any] = {}
        if config.block is not None:
            at = config.block
            answer = self._ask(
                f"read the block at {at}",
                lambda client: client.read_holding_registers(at, count=BLOCK_REGISTERS, device_id=unit),
            )
            words = answer.registers
            if len(words) < BLOCK_REGISTERS:
                raise ActuatorError(f"answered {len(words)} registers of {BLOCK_REGISTERS}")
            high, low, heartbeat, command, permit = words[:BLOCK_REGISTERS]
            found |= {"epoch": high << 16 | low, "heartbeat": heartbeat, "level": name_of(config.codes, command)}
            found["run_permit"] = bool(permit)  # as asked; the coil, where one is named, says how it stands
        for name, address in config.coils:
            if address is not None:
                read = partial(_read_coil, address=address, unit=unit)
                bits = self._ask(f"read coil {address} ({name})", read).bits
                if not bits:
                    raise ActuatorError(f"answered without the coil {address}")
                found[name] = bool(bits[0])
        fallen = config.block is None and "stop" in config.inverted and not any(found.get(name) for name in _WRITTEN)
        return ReadBack(**found, fallen=fallen).turned(config.inverted)


def _name_of(exception_code: int) -> str:
    known = next((code.name for code in ExcCodes if code == exception_code), "unknown")
    return f"exception {exception_code} ({known.lower().replace('_', ' ')})"


def _write_coil(client: ModbusTcpClient, *, address: int, value: bool, unit: int) -> Any:
    return client.write_coil(address, value, device_id=unit)


def _read_coil(client: ModbusTcpClient, *, address: int, unit: int) -> Any:
    return client.read_coils(address, count=1, device_id=unit)


def _is_readable(sock: socket.socket, within_s: float) -> bool:
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(within_s * 1000))


def _is_closed(sock: socket.socket | None) -> bool:
    """By the peer, as far as it shows yet."""
    if sock is None:
        return True
    try:
        return _is_readable(sock, 0) and sock.recv(1, socket.MSG_PEEK) == b""
    except OSError:
        return True
