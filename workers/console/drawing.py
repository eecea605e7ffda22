"""The lines as they are drawn: each once for all who look, and anew only when it changed. Thread-safe."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from threading import Lock

from workers.console.lines import LineView, Mood
from workers.console.live import Live, Snapshot

MAX_EVENTS = 16
"""Kept of one drawing. Browsers that keep up ask for two."""


@dataclass(frozen=True)
class DrawnLine:
    view: LineView
    told_by: Hashable
    """The zone and the day that its times are told by: that of today is left out."""
    html: str
    since: int
    """The number of the drawing that it first stood in like this."""

    @property
    def name(self) -> str:
        return self.view.line_id

    @property
    def calm(self) -> bool:
        return self.view.mood is Mood.CALM


@dataclass(frozen=True)
class Drawing:
    """Nothing in it is of one person: their role hides the acts, and the guard refuses them."""

    snapshot: Snapshot
    run: str
    """Of this process; another counts its drawings anew."""
    number: int
    head: str
    """What stands above the lines."""
    head_since: int
    lines: tuple[DrawnLine, ...]
    """The loudest first."""
    whole_since: int
    """Then a line went for good: who has an older drawing needs all of this."""
    events: dict[tuple[int | None, bool], str] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return f"{self.run}.{self.number}"

    def html(self, wall: bool) -> str:
        """wall: with the calm lines, which no other view shows."""
        return "".join(line.html for line in self.lines if wall or not line.calm)

    def event_since(self, had: str, wall: bool) -> str:
        """What leads here from another drawing, by its id; all, where that is none of this process. Each once for all
        browsers. Empty where both show the same."""
        key = self._number(had), wall
        if (found := self.events.get(key)) is not None:
            return found
        made = self._event(*key)
        if len(self.events) < MAX_EVENTS:
            self.events[key] = made
        return made

    def _event(self, had: int | None, wall: bool) -> str:
        whole = had is None
        before = -1 if had is None else had
        lines, gone, after = [], [], None
        for line in self.lines:
            shown = wall or not line.calm
            if shown and line.since > before:
                # What has not changed keeps its order, so that each finds its place by the one before it.
                lines.append({"line": line.name, "after": after, "html": line.html})
            elif line.since > before and not whole:
                gone.append(line.name)
            if shown:
                after = line.name
        head = self.head if self.head_since > before else None
        if not (whole or lines or gone or head is not None):
            return ""
        news = json.dumps({"whole": whole, "head": head, "lines": lines, "gone": gone})
        return f"id: {self.id}\nevent: lines\ndata: {news}\n\n"

    def _number(self, had: str) -> int | None:
        found = re.fullmatch(r"(\w+)\.(\d{1,15})", had)
        if not found or found[1] != self.run:
            return None
        number = int(found[2])
        return number if self.whole_since <= number <= self.number else None


class Drawings:
    def __init__(self, live: Live, draw: Callable[..., str], told_by: Callable[[], Hashable]) -> None:
        """draw: the name of a template, and what it needs to know → HTML. told_by: what all times are told by now."""
        self._live = live
        self._draw = draw
        self._told_by = told_by
        self._run = uuid.uuid4().hex
        self._lock = Lock()
        self._latest: Drawing | None = None

    def now(self) -> Drawing:
        """Takes as long as drawing what has changed."""
        with self._lock:
            snapshot = self._live.snapshot()
            if self._latest is None or self._latest.snapshot is not snapshot:
                self._latest = self._drawn(snapshot, self._latest)
            return self._latest

    def _drawn(self, snapshot: Snapshot, before: Drawing | None) -> Drawing:
        known = {line.name: line for line in before.lines} if before else {}
        number = before.number + 1 if before else 0
        told_by = self._told_by()
        lines = tuple(self._line(view, told_by, known.get(view.line_id), number) for view in snapshot.lines)
        head = self._draw("_lines_head.html", snapshot=snapshot)
        head_since = before.head_since if before and before.head == head else number
        gone = known.keys() - {line.name for line in lines}
        whole_since = number if gone or not before else before.whole_since
        if before and number not in {head_since, whole_since, *(line.since for line in lines)}:
            number = before.number
        return Drawing(snapshot, self._run, number, head, head_since, lines, whole_since)

    def _line(self, view: LineView, told_by: Hashable, before: DrawnLine | None, number: int) -> DrawnLine:
        if before and (before.view, before.told_by) == (view, told_by):
            return before
        html = self._draw("_line.html", line=view)
        return DrawnLine(view, told_by, html, before.since if before and before.html == html else number)
