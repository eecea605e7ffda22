"""One camera as its tile shows it. Pure."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cached_property

from pipeline.events import BootEnd, Doubt, Score, Verdict, to_ms
from workers.console.remembered import CameraMemory, seen_at

SILENT_WORKER = timedelta(seconds=10)
"""Heartbeats come every second."""


class TileState(StrEnum):
    OK = "ok"
    NOT_OK = "not-ok"
    NOT_INSPECTED = "not-inspected"
    FROZEN = "frozen"
    STALE = "stale"
    OFFLINE = "offline"
    ENDED = "ended"
    WAITING = "waiting"
    UNWATCHED = "unwatched"


SHAPES = {
    TileState.OK: "●",
    TileState.NOT_OK: "■",
    TileState.NOT_INSPECTED: "◆",
    TileState.FROZEN: "❚❚",
    TileState.STALE: "▽",
    TileState.OFFLINE: "✕",
    TileState.ENDED: "○",
    TileState.WAITING: "…",
    TileState.UNWATCHED: "▲",
}
"""A shape for each: who can't tell the colours can tell these."""


@dataclass(frozen=True)
class Tile:
    camera_id: str
    line_id: str
    state: TileState
    shape: str
    words: str
    frame_id: str | None
    model: str | None
    """Hash; with the frame id it names the pictures."""
    captured_ms: int | None
    score: str
    threshold: str
    share: float
    """Of the score bar: the threshold lies in its middle."""

    @cached_property
    def json(self) -> str:
        """Once for all browsers that look."""
        return json.dumps(asdict(self))


def tile(
    camera: CameraMemory, now: datetime, *, stale_after_s: float, triggered: bool = False, max_age_s: float = math.inf,
    unwatched: bool = False,
) -> Tile:  # fmt: skip
    """`triggered`: no part, no frame; an old frame is then no bad sign. `max_age_s`: what is known later than that
    after its capture stops no line. `unwatched`: an alarm says that what it sees stops no line."""
    last = camera.last
    state, words = _state(camera, last, now, stale_after_s, triggered, max_age_s)
    if unwatched and state in (TileState.OK, TileState.NOT_OK):
        # As of more cameras than a line may have, or of two under one name: both go on being scored.
        words += ", not watched: see its alarm"
        state = TileState.UNWATCHED if state is TileState.OK else state
    return Tile(
        camera_id=camera.camera_id,
        line_id=camera.line_id,
        state=state,
        shape=SHAPES[state],
        words=words,
        frame_id=last.frame_id if last else None,
        model=last.model.hash if last and last.map_key else None,
        captured_ms=to_ms(seen_at(last)) if last else None,
        score="–" if last is None or last.score is None else f"{last.score:.4g}",
        threshold=f"{last.threshold:.4g}" if last else "–",
        share=bar_share(last.score if last else None, last.threshold if last else 0.0),
    )


def bar_share(score: float | None, threshold: float) -> float:
    """0 … 1 for a bar whose middle is the threshold and whose end is twice the threshold. For a threshold that is not
    above zero a score can't be set in proportion: the bar then only tells the side."""
    if score is None:
        return 0.0
    if threshold <= 0:
        return 0.75 if score >= threshold else 0.25
    return round(min(1.0, max(0.0, score / (2 * threshold))), 3)


def _state(
    camera: CameraMemory, last: Score | None, now: datetime, stale_after_s: float, triggered: bool, max_age_s: float
) -> tuple[TileState, str]:
    beat = camera.beat
    # Scores of a boot without a heartbeat are of a later one: its heartbeats are still to come.
    newest = beat is not None and (last is None or last.boot_id in camera.beats)
    fresh = last is not None and (now - seen_at(last)).total_seconds() <= stale_after_s
    if camera.is_forgotten(now):
        return TileState.ENDED, "not heard of for a day: it counts as taken away"
    if beat is not None and newest:
        if beat.end is BootEnd.CLEAN and not fresh:
            return TileState.ENDED, "ended in good order"
        if beat.end is BootEnd.DIED:
            return TileState.OFFLINE, "its worker died"
        if beat.end is BootEnd.RUNNING and (camera.heard_at is None or now - camera.heard_at > SILENT_WORKER):
            return TileState.OFFLINE, "no sign of its worker"
        if beat.end is BootEnd.RUNNING and not beat.source_connected:
            return TileState.OFFLINE, "source not reachable"
    if last is None:
        return TileState.WAITING, "no frame scored yet"
    if not fresh and not triggered:
        comes = (now - last.scored_at).total_seconds() <= stale_after_s
        return TileState.STALE, "its frames come late" if comes else "no new frame"
    if Doubt.FROZEN in last.doubts:
        return TileState.FROZEN, "frozen: the same picture again and again"
    if last.verdict is Verdict.NOT_DECIDABLE:
        return TileState.NOT_INSPECTED, "not inspected: " + ", ".join(last.doubts)
    too_late = (last.scored_at - seen_at(last)).total_seconds() > max_age_s
    if last.verdict is Verdict.NOT_OK:
        return TileState.NOT_OK, "NOT OK, known too late" if too_late else "NOT OK"
    return (TileState.STALE, "its frames come too late") if too_late else (TileState.OK, "OK")
