"""Server-sent events: what has changed since this browser last heard of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import PlainTextResponse, Response, StreamingResponse

from pipeline.events import to_ms
from workers.console.desk import Desk, Options
from workers.console.live import EVERY_S, Snapshot
from workers.console.pages.common import Someone, TheDesk, clock_facts, templates
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
async def events(request: Request, who: Someone, desk: TheDesk, tiles: bool = False) -> Response:
    """`tiles`: with those of the wall, too."""
    if _listeners >= MAX_LISTENERS:
        return PlainTextResponse("Too many pages listen.", 503, {"retry-after": "5"})
    return StreamingResponse(
        _stream(request, desk, tiles), media_type="text/event-stream", headers={"x-accel-buffering": "no"}
    )


async def _stream(request: Request, desk: Desk, with_tiles: bool) -> AsyncIterator[str]:
    global _listeners
    _listeners += 1
    try:
        sent: dict[str, Tile] = {}
        lines_sent, alarms_sent = "", -1
        yield "retry: 1000\n\n"
        for turn in range(int(LIFE_S / EVERY_S)):
            snapshot = await run_in_threadpool(desk.live.snapshot)
            lines = drawn_lines(snapshot, desk.options)
            if lines != lines_sent:
                lines_sent = lines
                said = " ".join(line.announcement for line in snapshot.lines if line.announcement)
                yield _event("lines", {"html": lines, "said": said, "unacknowledged": snapshot.unacknowledged})
            if snapshot.alarm_changes != alarms_sent:
                alarms_sent = snapshot.alarm_changes
                yield _event("alarms", {"changes": alarms_sent})
            if with_tiles:
                changed = [tile for name, tile in snapshot.tiles.items() if sent.get(name) != tile]
                gone = [name for name in sent if name not in snapshot.tiles]
                if changed or gone:
                    sent = dict(snapshot.tiles)
                    yield _event("tiles", {"tiles": [asdict(tile) for tile in changed], "gone": gone})
            if turn % BEAT_EVERY == 0:
                yield _event("beat", {"now_ms": to_ms(snapshot.at), "fault": snapshot.fault})
            await asyncio.sleep(EVERY_S)
            if await request.is_disconnected():
                return
    finally:
        _listeners -= 1


def drawn_lines(snapshot: Snapshot, options: Options) -> str:
    """Drawn once for all who listen. Nothing in it is of one person: their role hides the acts, and the guard
    refuses them."""
    if "lines" not in snapshot.rendered:
        template = templates.get_template("_lines.html")
        snapshot.rendered["lines"] = template.render(snapshot=snapshot, **clock_facts(options))
    return snapshot.rendered["lines"]


def _event(name: str, content: dict[str, Any]) -> str:
    return f"event: {name}\ndata: {json.dumps(content)}\n\n"
