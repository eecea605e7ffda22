"""Modbus TCP. The signals are read back by address, since the library's order of bits has changed between releases."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from pymodbus import ModbusException
from pymodbus.client import ModbusTcpClient
from pymodbus.exceptions import ConnectionException, ModbusIOException

from workers.alerting.actuators.base import ActuatorError, Guard, Image, ReadBack, name_of, on_wire, read_until
from workers.alerting.actuators.config import BLOCK_REGISTERS, ModbusConfig

logging.getLogger("pymodbus").setLevel(logging.CRITICAL)  # the driver tells each fault once


_WRITTEN = ("stop", "run_permit", "reject")
"""Coils that Andon writes, in this order: the stop first."""


class ModbusActuator:
    def __init__(self, config: ModbusConfig) -> None:
        self._config = config
        self._client: ModbusTcpClient | None = None

    @property
    def address(self) -> str:
        return self._config.address

    def read(self) -> ReadBack:
        return self._guarded(self._read)

    def exchange(self, image: Image, guard: Guard) -> ReadBack:
        def write_and_read() -> ReadBack:
            client = self._connected()
            guard()
            self._write(client, image)
            return read_until(self._read, image, self._config.timeout_s)

        return self._guarded(write_and_read)

    def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def _connected(self) -> ModbusTcpClient:
        if self._client is None:
            config = self._config
            client = ModbusTcpClient(
                config.host, port=config.port, timeout=config.timeout_s, retries=0, reconnect_delay=0, name="andon"
            )
            if not client.connect():
                client.close()
                raise ActuatorError("nothing answers there")
            self._client = client
        return self._client

    def _guarded(self, do: Callable[[], ReadBack]) -> ReadBack:
        try:
            return do()
        except (ModbusException, OSError) as error:
            self.close()  # a late answer must not be taken for that of the next request
            raise ActuatorError(self._told(error)) from error
        except ActuatorError:
            self.close()
            raise

    def _told(self, error: Exception) -> str:
        """pymodbus speaks of its retries, and calls an answer of another unit none."""
        if isinstance(error, ConnectionException):
            return "it closed the connection instead of answering; it has to keep one open for several requests"
        if isinstance(error, ModbusIOException):
            return f"no answer of unit {self._config.unit} in {self._config.timeout_s:g} s; is that its unit?"
        return str(error)

    def _write(self, client: ModbusTcpClient, image: Image) -> None:
        config, unit = self._config, self._config.unit
        if config.block is not None:
            code = getattr(config.codes, image.level)
            high, low = image.epoch >> 16 & 0xFFFF, image.epoch & 0xFFFF
            values = [high, low, image.heartbeat, code, int(image.run_permit)]
            _checked(client.write_registers(config.block, values, device_id=unit))
            return
        coils = config.coils
        for name in _WRITTEN:
            address = getattr(coils, name)
            if address is not None:
                value = on_wire(name, getattr(image, name), config.inverted)
                _checked(client.write_coil(address, value, device_id=unit))

    def _read(self) -> ReadBack:
        client, config, unit = self._connected(), self._config, self._config.unit
        found: dict[str, Any] = {}
        if config.block is not None:
            answer = client.read_holding_registers(config.block, count=BLOCK_REGISTERS, device_id=unit)
            words = _checked(answer).registers
            if len(words) < BLOCK_REGISTERS:
                raise ActuatorError(f"answered {len(words)} registers of {BLOCK_REGISTERS}")
            found["epoch"] = words[0] << 16 | words[1]
            found["heartbeat"] = words[2]
            found["level"] = name_of(config.codes, words[3])
            found["run_permit"] = bool(words[4])  # as asked; the coil, where one is named, says how it stands
        for name, address in config.coils:
            if address is not None:
                bits = _checked(client.read_coils(address, count=1, device_id=unit)).bits
                if not bits:
                    raise ActuatorError(f"answered without the coil {address}")
                found[name] = bool(bits[0])
        fallen = config.block is None and "stop" in config.inverted and not any(found.get(name) for name in _WRITTEN)
        return ReadBack(**found, fallen=fallen).turned(config.inverted)


def _checked(answer: Any) -> Any:
    if answer.isError():
        raise ActuatorError(f"refused: {answer}")
    return answer
