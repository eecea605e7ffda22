"""All lines of a simulated PLC with their servers, on a thread of its own."""

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from workers.plc.ladder import Ladder

SCAN_S = 0.02
START_TIMEOUT_S = 120.0
"""Long: the OPC UA server reads its whole address space first, which takes a loaded machine over half a minute."""


@dataclass
class Station:
    """A line's Modbus unit is its place among the lines, from 1."""

    ladders: Sequence[Ladder]
    host: str = "127.0.0.1"
    modbus_port: int | None = None
    opcua_port: int | None = None
    _ready: threading.Event = field(default_factory=threading.Event)
    _error: BaseException | None = None
    _loop: asyncio.AbstractEventLoop | None = None
    _end: asyncio.Event | None = None
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Returns when the servers listen. Raises OSError when a port is taken."""
        self._thread = threading.Thread(target=self._run, name="plc", daemon=True)
        self._thread.start()
        if not self._ready.wait(START_TIMEOUT_S):
            raise TimeoutError(f"the simulated PLC did not start in {START_TIMEOUT_S:g} s")
        if self._error:
            raise self._error

    def stop(self) -> None:
        if self._loop and self._end and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._end.set)
        if self._thread:
            self._thread.join(10)

    def __enter__(self) -> "Station":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            self._error = error
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        modbus: Any = None
        opcua: Any = None
        try:
            if self.modbus_port is not None:
                from workers.plc.modbus_side import modbus_server

                units = dict(enumerate(self.ladders, start=1))
                modbus = modbus_server(units, self.host, self.modbus_port)
                await modbus.serve_forever(background=True)
            if self.opcua_port is not None:
                from workers.plc.opcua_side import OpcUaSide

                opcua = OpcUaSide({ladder.line_id: ladder for ladder in self.ladders}, self.host, self.opcua_port)
                await opcua.start()
            self._ready.set()
            while not self._end.is_set():
                for ladder in self.ladders:
                    ladder.scan()
                if opcua:
                    await opcua.scan()
                await asyncio.sleep(SCAN_S)
        finally:
            if modbus:
                await modbus.shutdown()
            if opcua:
                await opcua.stop()
