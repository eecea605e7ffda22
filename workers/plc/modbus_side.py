"""The ladders behind a Modbus TCP server: one unit id a line.

Holding registers 0-4, written at once: epoch high, epoch low, heartbeat, command word, run permit. Coils: 0 stop,
1 run permit, 2 reject (written directly where the master uses no block), 8 held, 9 running, 10 watchdog lost;
16 reset button, 17 start button, 18 the lamp beside them, which burns while the line is held. Coils 0, 1, 2 and 8
follow the polarity of the ladder; the registers and the lamp never do.
"""

from collections.abc import Mapping
from functools import partial

from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice
from pymodbus.simulator.simutils import SimUtils

from workers.plc.ladder import HOLD, REJECT, RUN, Inputs, Ladder

COILS = 32
_WRITTEN = ("stop", "run_permit", "reject")
RUNNING, WATCHDOG_LOST = 9, 10
RESET_BUTTON, START_BUTTON, HELD_LAMP = 16, 17, 18
_READ_COILS, _READ_REGISTERS, _WRITE_COIL, _WRITE_REGISTER, _WRITE_COILS, _WRITE_REGISTERS = 1, 3, 5, 6, 15, 16


def modbus_server(ladders: Mapping[int, Ladder], host: str, port: int) -> ModbusTcpServer:
    """unit id → ladder. Not started yet: await `serve_forever(background=True)`."""
    return ModbusTcpServer([_device(unit, ladder) for unit, ladder in ladders.items()], address=(host, port))


def _device(unit: int, ladder: Ladder) -> SimDevice:
    bits = [SimData(0, values=[False] * COILS, datatype=DataType.BITS)]
    registers = [SimData(0, values=[0] * 8, datatype=DataType.REGISTERS)]
    blocks = (list(bits), list(bits), list(registers), list(registers))
    return SimDevice(unit, blocks, action=partial(_access, ladder))


async def _access(
    ladder: Ladder,
    function: int,
    start: int,
    address: int,
    count: int,
    registers: list[int],
    values: list[int] | list[bool] | None,
) -> ExcCodes | None:
    ladder.scan()
    if values is not None and function in (_WRITE_REGISTERS, _WRITE_REGISTER):
        _write_registers(ladder, address, [int(value) for value in values])
    elif values is not None and function in (_WRITE_COIL, _WRITE_COILS):
        for offset, value in enumerate(values):
            _write_coil(ladder, address + offset, bool(value))
    # The library keeps what was written; what is read is what the ladder says.
    if function in (_READ_COILS, _WRITE_COIL, _WRITE_COILS):
        registers[: COILS // 16] = SimUtils.bitsToRegisters(_coils(ladder))
    elif function == _READ_REGISTERS:
        registers[:5] = _block(ladder)
    return None


def _write_registers(ladder: Ladder, address: int, values: list[int]) -> None:
    block = _block(ladder)
    block[address : address + len(values)] = values
    high, low, heartbeat, command, permit = block[:5]
    ladder.write(Inputs(high << 16 | low, heartbeat, command, bool(permit)))


def _write_coil(ladder: Ladder, address: int, value: bool) -> None:
    now = ladder.inputs
    if address < len(_WRITTEN):
        value = ladder.wire(_WRITTEN[address], value)
    if address == 0:
        ladder.write(Inputs(now.epoch, now.heartbeat, HOLD if value else RUN, now.permit))
    elif address == 1:
        ladder.write(Inputs(now.epoch, now.heartbeat, now.command, value))
    elif address == 2 and (value or now.command == REJECT):
        ladder.write(Inputs(now.epoch, now.heartbeat, REJECT if value else RUN, now.permit))
    elif address == RESET_BUTTON and value:
        ladder.press_reset()
    elif address == START_BUTTON and value:
        ladder.press_start()


def _block(ladder: Ladder) -> list[int]:
    now = ladder.inputs
    return [now.epoch >> 16 & 0xFFFF, now.epoch & 0xFFFF, now.heartbeat, now.command, int(now.permit)]


def _coils(ladder: Ladder) -> list[bool]:
    coils = [False] * COILS
    written = zip(_WRITTEN, (ladder.stop, ladder.permit, ladder.reject), strict=True)
    coils[:3] = [ladder.wire(name, value) for name, value in written]
    coils[8] = ladder.wire("held", ladder.held)
    coils[RUNNING], coils[WATCHDOG_LOST], coils[HELD_LAMP] = ladder.running, ladder.watchdog_lost, ladder.held
    return coils
