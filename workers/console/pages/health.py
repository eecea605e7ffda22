"""How well the factory sees: accounts, backlog, time by stage, drops, dead letters, and which camera alarms most."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from pipeline.events import Act, Action, Heartbeat
from workers.console.desk import Desk
from workers.console.lines import CONFIRMED
from workers.console.memory import DEAD
from workers.console.pages.common import Form, Operator, Someone, TheDesk, page
from workers.console.reader import DEAD_BEFORE
from workers.console.remembered import CameraMemory

router = APIRouter()

SHOWN_DEAD = 50
PARETO = 12


@dataclass(frozen=True)
class Running:
    """A camera's running count: its own words beside what was seen scored."""

    camera_id: str
    line_id: str
    captured: int
    published: int
    scored: int
    """Of this boot, since this page watches it."""
    from_start: bool
    """Whether the page has watched this boot from its first frame."""
    dropped: dict[str, int]
    dead: dict[str, int]
    with_camera: int
    in_flight: int | None

    @classmethod
    def of(cls, camera: CameraMemory, beat: Heartbeat) -> Running:
        scored, dead = camera.scored.get(beat.boot_id), dict(camera.dead.get(beat.boot_id, {}))
        from_start = scored.first == 0 if scored else beat.captured == 0
        count = scored.count if scored else 0
        rest = beat.captured - count - sum(beat.dropped.values()) - sum(dead.values())
        if scored:  # a camera's frames come in order, and of those that died before this page began it read the newest
            rest = min(rest, beat.captured - scored.last - 1)
        return cls(
            camera.camera_id, camera.line_id, beat.captured, beat.published, count, from_start, dict(beat.dropped),
            dead, beat.buffered + beat.spooled, max(0, rest) if from_start else None,
        )  # fmt: skip


@dataclass(frozen=True)
class Stage:
    name: str
    p50: float
    p99: float


@router.get("/health")
def health(request: Request, who: Someone, desk: TheDesk) -> Response:
    cameras = desk.memory.cameras()
    alarms: Counter[str] = Counter()
    for alarm in desk.memory.alarms():
        alarms[alarm.camera_id] += sum(change.act is Act.RAISE for change in desk.memory.history(alarm.alarm_id))
    drops: Counter[str] = Counter()
    for camera in cameras:
        if camera.beat:
            drops.update(camera.beat.dropped)
    dead = desk.memory.dead()
    faults = desk.reader.fault, desk.reader.standing_fault, desk.gauges.now.fault
    return page(
        request,
        "health.html",
        running=[Running.of(camera, camera.beat) for camera in cameras if camera.beat],
        gauges=desk.gauges.now,
        stages=stages(desk),
        drops=drops.most_common(),
        dead=dead[:SHOWN_DEAD],
        dead_by_reason=Counter(frame.reason for frame in dead).most_common(),
        most_dead=DEAD,
        dead_before=DEAD_BEFORE,
        pareto=pareto(alarms),
        account=desk.accountant.latest,
        faults=list(dict.fromkeys(filter(None, faults))),
        unreadable=sum(desk.memory.unreadable.values()),
        audit=desk.memory.audit()[:20],
    )


def pareto(alarms: Counter[str]) -> list[tuple[str, int, float]]:
    """Camera, how often it alarmed, and which share of all alarms it makes with those before it."""
    total, sum_, found = alarms.total() or 1, 0, []
    for camera, count in alarms.most_common(PARETO):
        sum_ += count
        found.append((camera, count, sum_ / total))
    return found


@router.post("/health/account")
def account(who: Operator, desk: TheDesk, form: Form) -> Response:
    desk.accountant.draw()
    return RedirectResponse("/health#account", 303)


def stages(desk: Desk) -> list[Stage]:
    """Of the frames that this page remembers."""
    found: dict[str, list[float]] = defaultdict(list)
    for camera in desk.memory.cameras():
        for score in desk.memory.recent(camera.camera_id):
            for name, value in score.timings_ms.items():
                found[name].append(value)
            found["capture to score"].append((score.scored_at - score.captured_at).total_seconds() * 1000)
    for line_id in desk.memory.lines():
        for reply in list(desk.memory.line(line_id).replies):
            if reply.outcome in CONFIRMED and reply.action is not Action.UNHOLD_PERMITTED:
                took = reply.observed_at - reply.captured_at
                found["capture to stop read back"].append(took.total_seconds() * 1000)
    return [Stage(name, _at(values, 0.5), _at(values, 0.99)) for name, values in found.items()]


def _at(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]
