"""Acknowledge, reset, shelve, unshelve: a form, and what became of it."""

from __future__ import annotations

import time
import uuid
from urllib.parse import urlencode, urlsplit

from anyio import CapacityLimiter
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response

from pipeline.events import from_ms, now, to_ms
from workers.alerting.core.operations import CLOCKS_MAY_DIFFER
from workers.console.acts import PERSONS_ACTS
from workers.console.desk import Desk
from workers.console.pages.common import (
    Form,
    Operator,
    Refused,
    Someone,
    TheDesk,
    in_threads,
    number,
    page,
    safe_next,
    text,
    told,
)

router = APIRouter()
_threads = CapacityLimiter(12)
READ_S = 10.0
"""So long an act waits for the past to be read."""

EXPLAINED = {
    "acknowledge": "Says that you have seen the alarms and are on your way. They stay, and the line stays as it is.",
    "reset": "Says that the cause is dealt with. Andon takes back what it asked of the line. The line does not start: "
    "a person starts it, at the line.",
    "shelve": "Puts the alarm aside for a while. It changes nothing at the line.",
    "unshelve": "Shows the alarm again.",
}


@router.get("/lines/{line_id}/acts/{act}")
def form(
    request: Request, who: Operator, desk: TheDesk, line_id: str, act: str, alarm: uuid.UUID | None = None,
    next: str = "/", fragment: bool = False,
) -> Response:  # fmt: skip
    _known(act)
    standing = desk.memory.standing(line_id)
    meant = [found for found in standing if alarm in (None, found.alarm_id)]
    return page(
        request,
        "_act_form.html" if fragment else "act.html",
        line_id=line_id,
        act=act,
        alarm_id=alarm,
        alarms=meant,
        others=len(standing) > len(meant),
        causes=desk.memory.causes(),
        explained=EXPLAINED[act],
        operation_id=uuid.uuid4(),
        # By the clock that dated the alarms, where it is ahead of ours: what is on the form was seen.
        shown_ms=to_ms(max((now(), *(found.changed_at for found in meant)))),
        next=safe_next(next),
    )


@router.post("/lines/{line_id}/acts/{act}")
@in_threads(_threads)
def ask(request: Request, who: Operator, desk: TheDesk, line_id: str, act: str, form: Form) -> Response:
    _known(act)
    try:
        operation_id = uuid.UUID(text(form, "operation_id"))
        alarm_id = uuid.UUID(text(form, "alarm_id")) if text(form, "alarm_id") else None
        # Never far ahead: an act that waits in Kafka must grow old.
        shown_at = from_ms(min(int(text(form, "shown_ms", 16)), to_ms(now() + CLOCKS_MAY_DIFFER)))
    except (ValueError, OverflowError) as error:
        raise Refused("Not done", "The form was not one of ours. Load the page again.", 400) from error
    _await_line(desk, line_id)
    desk.acts.ask(
        who,
        line_id,
        PERSONS_ACTS[act],
        operation_id=operation_id,
        reason=text(form, "reason"),
        alarm_id=alarm_id,
        shown_at=shown_at,
        shelve_for_s=number(form, "minutes") * 60 if act == "shelve" else None,
    )
    desk.acts.await_outcome(operation_id)
    target = urlsplit(safe_next(text(form, "next")))
    query = [target.query] if target.query and "operation=" not in target.query else []
    asked = urlencode({"operation": operation_id, "act": act, "of": line_id})  # `line` narrows the list of alarms
    return RedirectResponse(f"{target.path}?{'&'.join([*query, asked])}", 303)


@router.get("/operations/{operation_id}")
def outcome(who: Someone, desk: TheDesk, operation_id: uuid.UUID) -> Response:
    found = desk.memory.outcome(operation_id)
    if found is None:
        return JSONResponse({"state": "waiting"})
    return JSONResponse({"state": "done" if found.done else "refused", "words": told(found, desk.options)})


def _await_line(desk: Desk, line_id: str) -> None:
    """A server that has just been started knows of none, and somebody may be in the midst of an act."""
    deadline_s = time.monotonic() + READ_S
    while True:
        unread = desk.reader.fault or desk.reader.behind  # before the look: what was read meanwhile is in the memory
        if line_id in desk.memory.lines():
            return
        if unread is None:
            raise Refused("Not done", f"There is no line {line_id}.", 404)
        if time.monotonic() > deadline_s:
            said = f"Nothing was read of line {line_id} yet: {unread}. Go back, where your words are, and ask again."
            raise Refused("Not done", said, 503)
        time.sleep(0.1)


def _known(act: str) -> None:
    if act not in PERSONS_ACTS:
        raise Refused("There is no such act", act, 404)
