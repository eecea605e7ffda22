"""Server-sent events: what has changed since this browser last heard of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import PlainTextResponse, Response, StreamingResponse

from pipeline.events import to_ms
from workers.console.drawing import Drawings
from workers.console.live import EVERY_S
from workers.console.pages.common import Someone, the_drawings
from workers.console.tiles import Tile

router = APIRouter()


def listeners() -> int:
    """Browsers that listen now."""
    return _listeners


MAX_LISTENERS = 100
BEAT_EVERY = 4
"""Looks. A browser that hears nothing for a few seconds says that it shows the past."""
LIFE_S = 600.0
"""Then the browser connects anew, and who may not look any more is out."""
_listeners = 0


@router.get("/events")
async def events(request: Request, who: Someone, tiles: bool = False, drawn: str = "") -> Response:
    """`tiles`: with those of the wall, too. `drawn`: what the page shows already, by the id of its drawing."""
    if _listeners >= MAX_LISTENERS:
        return PlainTextResponse("Too many pages listen.", 503, {"retry-after": "5"})
    # A browser that connects anew by itself asks for the same address, and tells beside it what it heard last.
    browser = Browser(the_drawings(request), request.headers.get("last-event-id") or drawn, tiles)
    return StreamingResponse(
        _stream(request, browser), media_type="text/event-stream", headers={"x-accel-buffering": "no"}
    )


@router.get("/here")
async def here(who: Someone) -> Response:
    """What a page asks to learn whether it has its server, and a login. Not `/healthz`: many a proxy refuses that one,
    and would look like one that wants a login."""
    return PlainTextResponse("here\n")


async def _stream(request: Request, browser: Browser) -> AsyncIterator[str]:
    global _listeners
    _listeners += 1
    try:
        yield "retry: 1000\n\n"
        for turn in range(int(LIFE_S / EVERY_S)):
            yield ""  # goes on once the browser has taken what it was told before: what it hears next is of then
            # In a thread: what is drawn of hundreds of lines holds up nobody who asks for another page.
            if news := await run_in_threadpool(browser.look, beat=turn % BEAT_EVERY == 0):
                yield news
            await asyncio.sleep(EVERY_S)
            if await request.is_disconnected():
                return
    finally:
        _listeners -= 1


class Browser:
    """What one has heard. One that was asleep hears at its next look of all that has changed meanwhile."""

    def __init__(self, drawings: Drawings, drawn: str, wall: bool) -> None:
        self._drawings = drawings
        self._drawn = drawn
        self._wall = wall
        self._tiles: dict[str, Tile] = {}
        self._knows_all = False
        self._alarms: tuple[int, int] | None = None

    def look(self, *, beat: bool) -> str:
        """The events that it lacks. `beat`: at least one, which says that the server lives."""
        drawing = self._drawings.now()
        snapshot = drawing.snapshot
        found = [drawing.event_since(self._drawn, self._wall)]
        self._drawn = drawing.id
        alarms = snapshot.alarm_changes, snapshot.unacknowledged
        if alarms != self._alarms:
            self._alarms = alarms
            found.append(_event("alarms", {"changes": alarms[0], "unacknowledged": alarms[1]}))
        if self._wall:
            # What it shows may be of a page that ran before, and knew other cameras. This one names all once it has
            # read the past.
            whole = not self._knows_all and snapshot.fault is None
            self._knows_all = self._knows_all or whole
            had = {} if whole else self._tiles
            changed = [tile for name, tile in snapshot.tiles.items() if had.get(name) != tile]
            gone = [name for name in had if name not in snapshot.tiles]
            if whole or changed or gone:
                self._tiles = snapshot.tiles
                told = ", ".join(tile.json for tile in changed)
                facts = f'"whole": {json.dumps(whole)}, "tiles": [{told}], "gone": {json.dumps(gone)}'
                found.append(f"event: tiles\ndata: {{{facts}}}\n\n")
        if beat:
            found.append(_event("beat", {"now_ms": to_ms(snapshot.at), "fault": snapshot.fault}))
        return "".join(found)


def _event(name: str, content: dict[str, Any]) -> str:
    return f"event: {name}\ndata: {json.dumps(content)}\n\n"
