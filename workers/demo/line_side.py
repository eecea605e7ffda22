"""The people at the lines: they start a line once it may run, and look at it. By a connection of their own to the PLC,
so that nothing Andon says has to be believed."""

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from pymodbus import ModbusException
from pymodbus.client import ModbusTcpClient

from workers.local.errors import ServiceError
from workers.plc.modbus_side import START_BUTTON

TIMEOUT_S = 2.0
START_LIMIT_S = 30.0
_FIRST_OUTPUT = 8


@dataclass(frozen=True)
class LineLook:
    """The coils of one line."""

    stop: bool
    permit: bool
    held: bool
    running: bool

    @property
    def stands_stopped(self) -> bool:
        return self.stop and self.held and not self.running


class LineSide:
    def __init__(self, port: int, lines: Sequence[str]) -> None:
        self.started: set[str] = set()
        """Lines that were seen running."""
        self._lines = lines
        self._client = ModbusTcpClient("127.0.0.1", port=port, timeout=TIMEOUT_S, retries=1)

    def wait_until_the_plc_answers(self) -> None:
        """Raises ServiceError."""
        deadline_s = time.monotonic() + START_LIMIT_S
        while any(self.look(line_id) is None for line_id in self._lines):
            if time.monotonic() > deadline_s:
                raise ServiceError(f"the simulated PLC did not answer within {START_LIMIT_S:g} s")
            time.sleep(0.2)

    def look(self, line_id: str) -> LineLook | None:
        """None where the PLC does not answer."""
        unit = self._lines.index(line_id) + 1
        try:
            if not self._client.connected and not self._client.connect():
                return None
            written = self._client.read_coils(0, count=2, device_id=unit)
            shown = self._client.read_coils(_FIRST_OUTPUT, count=2, device_id=unit)
        except ModbusException:
            return None
        if written.isError() or shown.isError():
            return None
        return LineLook(*map(bool, written.bits[:2]), *map(bool, shown.bits[:2]))

    def start_what_may_run(self) -> None:
        """Each line once. Nobody starts it again after a stop."""
        for line_id in self._lines:
            if line_id in self.started:
                continue
            now = self.look(line_id)
            if now is None or not now.permit or now.held:
                continue
            if not now.running:
                with suppress(ModbusException):  # pressed again at the next look
                    self._client.write_coil(START_BUTTON, True, device_id=self._lines.index(line_id) + 1)
                now = self.look(line_id)
            if now and now.running:
                self.started.add(line_id)

    def close(self) -> None:
        self._client.close()
