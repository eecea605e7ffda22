"""What the broker holds after all that the other sections of this run did to it."""

from benchmarks.contest import Say
from benchmarks.findings import Finding, Goal, Relation
from benchmarks.machine import rss_mb
from benchmarks.stage import Stage

_HARD_ON_IT = ("pipeline_over_detector", "camera_over_bare_producer", "cameras_until_it_breaks", "camera_memory")
"""Without these it has hardly been used, and in small sizes neither: what it holds then meets no goal."""


def broker_memory(stage: Stage, say: Say) -> list[Finding]:
    held = rss_mb(stage.broker.pid)
    used = not stage.quick and set(_HARD_ON_IT) <= set(stage.ran)
    return [
        Finding(
            name="broker_memory",
            measured=held,
            unit="MB",
            goal=Goal(Relation.AT_MOST, 400) if used else None,
            how=f"resident, after {', '.join(stage.ran) or 'no other section'}",
            raw={"rss_mb": round(held, 2), "after": list(stage.ran)},
        )
    ]
