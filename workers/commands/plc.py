"""`andon plc …`: a simulated PLC, to try policies and to see a line stop."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from threading import Event

    from rich.console import Console

    from workers.commands.ending import Printer
    from workers.plc.ladder import Ladder

plc = typer.Typer(name="plc", help="A simulated PLC, to try policies on.", no_args_is_help=True)


class Signal(StrEnum):
    STOP = "stop"
    RUN_PERMIT = "run_permit"
    REJECT = "reject"
    HELD = "held"


@plc.command()
def run(
    line: Annotated[list[str], typer.Option("--line", help="A line of this PLC; may be given several times.")],
    modbus_port: Annotated[int | None, typer.Option(min=1, max=65535, help="Serve Modbus TCP, units from 1.")] = None,
    opcua_port: Annotated[int | None, typer.Option(min=1, max=65535, help="Serve OPC UA at /andon.")] = None,
    mqtt: Annotated[str | None, typer.Option(help="Answer below andon/LINE at this broker, as host:port.")] = None,
    webhook_port: Annotated[int | None, typer.Option(min=1, max=65535, help="Answer signed POSTs to /LINE.")] = None,
    webhook_secret: Annotated[Path | None, typer.Option(help="File with the secret.", dir_okay=False)] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    watchdog_s: Annotated[float, typer.Option(min=0.1, help="The heartbeat must move so often.")] = 3.0,
    on_loss: Annotated[
        Literal["hold-on-loss", "run-with-alarm"], typer.Option(help="What a lost watchdog does.")
    ] = "hold-on-loss",
    stuck: Annotated[bool, typer.Option(help="A fault: take what is written, and do nothing.")] = False,
    inverted: Annotated[
        list[Signal] | None,
        typer.Option(help="A signal that is wired the other way round; may be given several times."),
    ] = None,
    plain: Annotated[bool, typer.Option(help="Print events instead of the live view.")] = False,
) -> None:
    """Run it until told to stop. The line begins running; a stop holds it until `andon plc press reset`, and only
    `andon plc press start` starts it again."""
    import re

    from rich.console import Console

    from pipeline.errors import AndonError
    from pipeline.events import NAME
    from workers.commands.ending import Printer
    from workers.plc.ladder import Ladder
    from workers.plc.sides import Sides

    if not (modbus_port or opcua_port or mqtt or webhook_port):
        raise AndonError("nobody could reach this PLC: give --modbus-port, --opcua-port, --mqtt or --webhook-port")
    if twice := sorted({name for name in line if line.count(name) > 1}):
        raise AndonError(f"--line {', '.join(twice)} is there twice: the lines of a PLC are known by their names")
    if odd := [name for name in line if not re.fullmatch(NAME, name)]:
        raise AndonError(f"--line {odd[0]!r}: no line has such a name; letters, digits, '_', '.' and '-'")
    printer = Printer()
    turned = frozenset(one.value for one in inverted or ())
    ladders = [Ladder(name, watchdog_s, on_loss == "hold-on-loss", stuck=stuck, inverted=turned) for name in line]
    sides = Sides(ladders, host, modbus_port, opcua_port, mqtt, webhook_port, webhook_secret)
    console = Console()
    with printer, sides:
        if plain or not console.is_terminal:
            with printer.printing():
                print("ready: " + "  ".join(sides.served), flush=True)
            _print_events(ladders, printer)
        else:
            _show(ladders, sides.served, printer.stop, console)


def _print_events(ladders: Sequence[Ladder], printer: Printer) -> None:
    from workers.plc.view import plain

    seen = {ladder.line_id: 0 for ladder in ladders}
    while not printer.stop.wait(0.1):
        for ladder in ladders:
            new, seen[ladder.line_id] = plain(ladder, seen[ladder.line_id])
            for text in new:
                with printer.printing():
                    print(text, flush=True)


def _show(ladders: Sequence[Ladder], served: Sequence[str], ended: Event, console: Console) -> None:
    from rich.live import Live

    from workers.plc.view import plc_view

    with Live(console=console, refresh_per_second=5, auto_refresh=False, screen=False) as live:
        while not ended.wait(0.2):
            live.update(plc_view(ladders, served), refresh=True)


@plc.command()
def press(
    button: Annotated[Literal["reset", "start"], typer.Argument(help="Which button at the line.")],
    modbus_port: Annotated[int, typer.Option(min=1, max=65535, help="Of the simulated PLC.")],
    unit: Annotated[int, typer.Option(min=1, max=247, help="The line's unit: 1 is the first.")] = 1,
    host: Annotated[str, typer.Option(help="Of the simulated PLC.")] = "127.0.0.1",
) -> None:
    """Press a button at the line, as the person there does."""
    from pymodbus import ModbusException
    from pymodbus.client import ModbusTcpClient

    from pipeline.errors import AndonError
    from workers.plc.modbus_side import COILS, HELD_LAMP, RESET_BUTTON, RUNNING, START_BUTTON, WATCHDOG_LOST

    client = ModbusTcpClient(host, port=modbus_port, timeout=3, retries=0)
    try:
        if not client.connect():
            raise AndonError(f"no Modbus server answers at {host}:{modbus_port}")
        pressed = client.write_coil(RESET_BUTTON if button == "reset" else START_BUTTON, True, device_id=unit)
        coils = client.read_coils(0, count=COILS, device_id=unit)
    except ModbusException as error:
        raise AndonError(f"the PLC at {host}:{modbus_port} did not answer: {error}") from error
    finally:
        client.close()
    if pressed.isError() or coils.isError():
        raise AndonError(f"the PLC at {host}:{modbus_port} has no unit {unit}: units go by its --line options, from 1")
    held, running, lost = (coils.bits[place] for place in (HELD_LAMP, RUNNING, WATCHDOG_LOST))
    why = "; watchdog lost: nobody watches this line" if lost else ""
    typer.echo(f"unit {unit}: {'held' if held else 'free'}, {'running' if running else 'standing'}{why}")
