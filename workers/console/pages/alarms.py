"""The list of alarms, and the life of one."""

from __future__ import annotations

import uuid

from fastapi import APIRouter, Request
from fastapi.responses import Response

from pipeline.events import Alarm, AlarmKind, AlarmState
from workers.console.desk import Desk
from workers.console.pages.common import Refused, Someone, TheDesk, page

router = APIRouter()

SHOWN = 300
SHOW = ("standing", "unacknowledged", "shelved", "all")


@router.get("/alarms")
def alarms(
    request: Request, who: Someone, desk: TheDesk, show: str = "standing", line: str = "", kind: str = "",
    rows: bool = False,
) -> Response:  # fmt: skip
    """`rows`: the table alone, for a page that is open."""
    found = _found(desk, show, line, kind)
    return page(
        request,
        "_alarm_rows.html" if rows else "alarms.html",
        alarms=found[:SHOWN],
        total=len(found),
        show=show if show in SHOW else "standing",
        shows=SHOW,
        line=line,
        kind=kind,
        lines=desk.memory.lines(),
        kinds=list(AlarmKind),
        causes=desk.memory.causes(),
    )


@router.get("/alarms/{alarm_id}")
def one(request: Request, who: Someone, desk: TheDesk, alarm_id: uuid.UUID) -> Response:
    alarm = desk.memory.alarm(alarm_id)
    if alarm is None:
        raise Refused("There is no such alarm", "It is older than this page remembers: `andon audit log` has it.", 404)
    episode = [entry for entry in desk.memory.audit() if entry.episode_id == alarm.episode_id]
    return page(
        request,
        "alarm.html",
        alarm=alarm,
        seen=desk.memory.stop_for(alarm) or alarm,
        cause=desk.memory.causes().get(alarm_id, alarm.reason),
        history=desk.memory.history(alarm_id),
        episode=episode,
    )


def _found(desk: Desk, show: str, line: str, kind: str) -> list[Alarm]:
    """Unacknowledged ones first, then by time."""
    match show:
        case "all":
            wanted = desk.memory.alarms()
        case "unacknowledged":
            wanted = [alarm for alarm in desk.memory.standing() if alarm.state.unacknowledged]
        case "shelved":
            wanted = [alarm for alarm in desk.memory.standing() if alarm.state is AlarmState.SHELVED]
        case _:
            wanted = desk.memory.standing()
    kept = [alarm for alarm in wanted if line in ("", alarm.line_id) and kind in ("", alarm.kind.value)]
    return sorted(kept, key=lambda alarm: (not alarm.state.unacknowledged, -alarm.changed_at.timestamp()))
