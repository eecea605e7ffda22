"""The factory as it stands now: computed at most every half second, however many people look."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from threading import Lock
from typing import TypeVar

from pipeline.events import Alarm, AlarmKind, now
from workers.alerting.policy import LinePolicy
from workers.console import lines, tiles
from workers.console.gauges import GaugeReader
from workers.console.lines import LOUDEST_FIRST, LineView
from workers.console.memory import Memory, by_number
from workers.console.reader import STILL_READING, Reader
from workers.console.tiles import Tile

T = TypeVar("T", Tile, Alarm)

EVERY_S = 0.5
SHOWN_EACH = 4
MAX_NAMES = 30


@dataclass(frozen=True)
class Snapshot:
    at: datetime
    tiles: dict[str, Tile]
    lines: tuple[LineView, ...]
    unacknowledged: int
    alarm_changes: int
    fault: str | None
    """Why this may be old."""
    untold: int = 0
    """Records of lines that this page could not read."""
    left_out: int = 0
    """Cameras that report, and that this page has no room for."""

    @property
    def lines_by_name(self) -> list[LineView]:
        return sorted(self.lines, key=lambda line: by_number(line.line_id))

    @property
    def asked_to_stop(self) -> str:
        """The names of all, where they are so many that a screen can't show each: whoever sees eight must not take
        them for all. Empty where there are few."""
        names = [line.line_id for line in self.lines_by_name if line.command and line.command.action.stops]
        if len(names) <= SHOWN_EACH:
            return ""
        more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
        return f"Andon asks {len(names)} lines to stop: {', '.join(names[:MAX_NAMES])}{more}"

    def of_line(self, line_id: str) -> list[Tile]:
        return self._tiles_by_line.get(line_id, [])

    @cached_property
    def _tiles_by_line(self) -> dict[str, list[Tile]]:
        return _by_line(self.tiles.values())


def _by_line(found: Iterable[T]) -> dict[str, list[T]]:
    sorted_out: dict[str, list[T]] = defaultdict(list)
    for one in found:
        sorted_out[one.line_id].append(one)
    return sorted_out


class Live:
    def __init__(
        self,
        memory: Memory,
        reader: Reader,
        gauges: GaugeReader,
        policy: Callable[[str], LinePolicy | None],
        stale_after_s: float,
    ) -> None:
        self._memory = memory
        self._reader = reader
        self._gauges = gauges
        self._policy = policy
        self._stale_after_s = stale_after_s
        self._lock = Lock()
        self._latest: Snapshot | None = None
        self._made_s = 0.0

    def snapshot(self) -> Snapshot:
        with self._lock:
            if self._latest is None or time.monotonic() - self._made_s > EVERY_S:
                self._latest = self._look()
                self._made_s = time.monotonic()
            return self._latest

    def _look(self) -> Snapshot:
        memory, at = self._memory, now()
        known = self._latest.tiles if self._latest else {}
        standing, causes = memory.standing(), memory.causes()
        silent = {
            (alarm.line_id, alarm.camera_id)
            for alarm in standing
            if alarm.kind is AlarmKind.CAMERA_SILENT and alarm.underneath.active
        }
        found = {}
        for camera in memory.cameras():
            policy = self._policy(camera.line_id)
            made = tiles.tile(
                camera,
                at,
                stale_after_s=self._stale_after_s,
                triggered=policy is not None and policy.triggered,
                max_age_s=policy.max_age_s if policy else math.inf,
                unwatched=(camera.line_id, camera.camera_id) in silent,
            )
            before = known.get(made.camera_id)
            found[made.camera_id] = before if before == made else made  # what was written of it is written
        alarms_of, tiles_of = _by_line(standing), _by_line(found.values())
        # Without the number that the bar on top counts down: each line would be drawn anew at each look.
        unread = self._reader.fault or (STILL_READING if self._reader.behind else None)
        views = tuple(
            lines.look(
                memory.line(line_id),
                alarms_of.get(line_id, []),
                tiles_of.get(line_id, []),
                self._policy(line_id),
                self._gauges.now,
                at,
                unread,
                causes,
            )
            for line_id in memory.lines()
        )
        # What stands still comes first, wherever its line stands in the alphabet.
        views = tuple(sorted(views, key=lambda view: LOUDEST_FIRST.index(view.mood)))
        return Snapshot(
            at=at,
            tiles=found,
            lines=views,
            unacknowledged=sum(alarm.state.unacknowledged for alarm in standing),
            alarm_changes=memory.alarm_changes,
            fault=self._reader.fault or self._reader.standing_fault or self._reader.behind,
            untold=memory.untold,
            left_out=memory.left_out,
        )
