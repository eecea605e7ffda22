"""Cameras are added until the plant can't follow, and every frame is still accounted for."""

from dataclasses import dataclass
from enum import StrEnum
from statistics import median
from typing import Any

from benchmarks.contest import Say
from benchmarks.findings import Finding, Goal, Relation
from benchmarks.replica import POLL_SIZE
from benchmarks.sections.capture_to_coil import bare, capacity_of, limit
from benchmarks.stage import Stage
from benchmarks.stops import Stops, percentile, stops_of
from benchmarks.whole_plant import WholePlant, whole_plant
from pipeline.audit.take_stock import take_stock

STEPS = (0.5, 0.7, 0.85, 1.0, 1.15, 1.4, 1.7)
"""Of the capacity that was measured."""
CAMERA_FPS = 0.5


class Tier(StrEnum):
    STABLE = "stable"
    """Each stop comes within three full batches and a little."""
    DEGRADING = "degrading"
    """It keeps up, later than that."""
    FAILING = "failing"
    """What waits grows without end, or parts are past before their line is stopped."""


@dataclass(frozen=True)
class Step:
    cameras: int
    offered_frames_per_s: float
    tier: Tier
    stops: Stops
    account: dict[str, int]
    """Of this step alone: captured, scored, dropped, dead, in flight; and what is missing from the sum."""

    def as_json(self) -> dict[str, Any]:
        offered = round(self.offered_frames_per_s, 2)
        return {"cameras": self.cameras, "offered_frames_per_s": offered, "tier": self.tier.value,
                "account": self.account, **self.stops.as_json()}  # fmt: skip


def cameras_until_it_breaks(stage: Stage, say: Say) -> list[Finding]:
    pictures, bare_ms = bare(stage, say)
    steps: list[Step] = []
    with whole_plant(stage, pictures, say) as plant:
        capacity = capacity_of(plant, stage, say)
        before = _account(plant)
        for share in STEPS:
            cameras = max(1, round(share * capacity / CAMERA_FPS))
            say(f"{cameras} cameras, {share:.0%} of {capacity:.1f} frames/s")
            shift = plant.shift(cameras, cameras * CAMERA_FPS, stage.sized(25, 12))
            stops, after = stops_of(plant, shift), _account(plant)
            account = {name: after[name] - before[name] for name in after}
            tier = _tier(stops, limit(bare_ms, POLL_SIZE), bare_ms[POLL_SIZE])
            steps.append(Step(cameras, cameras * CAMERA_FPS, tier, stops, account))
            before = after
            if tier is Tier.FAILING:
                break
    return _findings(steps, capacity, limit(bare_ms, POLL_SIZE))


def _account(plant: WholePlant) -> dict[str, int]:
    accounts = take_stock(plant.settings)
    return {
        "captured": sum(one.captured for one in accounts),
        "scored": sum(one.scored for one in accounts),
        "dropped": sum(sum(one.dropped.values()) for one in accounts),
        "dead": sum(sum(one.dead.values()) for one in accounts),
        "in_flight": sum(one.in_flight for one in accounts),
        "missing": sum(abs(one.missing) + len(one.contradictions) for one in accounts),
    }


def _tier(stops: Stops, limit_ms: float, batch_ms: float) -> Tier:
    quarter = max(1, len(stops.to_score_ms) // 4)
    grew_ms = median(stops.to_score_ms[-quarter:]) - median(stops.to_score_ms[:quarter])
    if stops.not_in_time or grew_ms > batch_ms:
        return Tier.FAILING
    return Tier.STABLE if percentile(stops.to_coil_ms, 0.99) <= limit_ms else Tier.DEGRADING


def _findings(steps: list[Step], capacity: float, limit_ms: float) -> list[Finding]:
    raw = {"capacity_frames_per_s": round(capacity, 2), "camera_fps": CAMERA_FPS, "limit_ms": round(limit_ms, 1),
           "steps": [step.as_json() for step in steps]}  # fmt: skip
    stable = [step for step in steps if step.tier is Tier.STABLE]
    told = "; ".join(f"{step.cameras} {step.tier}, p99 {step.stops.percentiles_ms['p99']:.0f} ms" for step in steps)
    account = {name: sum(step.account[name] for step in steps) for name in steps[0].account}
    ends = sum(account[name] for name in ("scored", "dropped", "dead", "in_flight"))
    unaccounted = max(account["missing"], abs(account["captured"] - ends))
    return [
        Finding("cameras_until_it_breaks, stable", max((step.cameras for step in stable), default=0), "cameras",
                None, f"at {CAMERA_FPS:g} frames/s each; capacity {capacity:.1f} frames/s; {told}", raw),
        Finding("cameras_until_it_breaks, frames not accounted for", unaccounted, "frames",
                Goal(Relation.AT_MOST, 0), ", ".join(f"{name} {count}" for name, count in account.items()), {}),
    ]  # fmt: skip
