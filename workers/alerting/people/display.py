"""Alarms for people: one line a change, told by words first and by colour second."""

from rich.console import Console
from rich.text import Text

from pipeline.events import Alarm, AlarmState
from workers.printable import printable

_STYLES = {
    AlarmState.UNACK_ACTIVE: "bold white on red",
    AlarmState.ACK_ACTIVE: "bold red",
    AlarmState.UNACK_RTN: "bold yellow",
    AlarmState.UNACK_LATCHED: "bold red",
    AlarmState.ACK_LATCHED: "yellow",
    AlarmState.SHELVED: "dim",
    AlarmState.SUPPRESSED: "dim",
    AlarmState.NORMAL: "green",
}


def console() -> Console:
    """Never breaks a line in two: what reads the output may be `grep`."""
    return Console(soft_wrap=True, highlight=False)


def change_line(alarm: Alarm) -> Text:
    """When, where, what the alarm is now, who did what and why. Names come from outside and are no markup."""
    where = f"{alarm.line_id} {alarm.camera_id}"
    covered = f" (beneath: {alarm.beneath})" if alarm.beneath else ""
    until = f" until {alarm.shelved_until:%H:%M:%S} UTC" if alarm.shelved_until else ""
    said = f"{alarm.act} by {alarm.actor}" + (f": {alarm.reason}" if alarm.reason else "")
    return Text.assemble(
        f"{alarm.changed_at:%Y-%m-%d %H:%M:%S} UTC  {where}  ",
        (f"{alarm.kind} {alarm.state}{until}", _STYLES[alarm.state]),
        covered,
        f"  {printable(said)}",
    )
