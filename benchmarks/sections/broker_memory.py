"""What the broker holds after all that the other sections of this run did to it."""

from benchmarks.contest import Say
from benchmarks.findings import Finding, Goal, Relation
from benchmarks.machine import rss_mb
from benchmarks.stage import Stage


def broker_memory(stage: Stage, say: Say) -> list[Finding]:
    held = rss_mb(stage.broker.pid)
    return [
        Finding(
            name="broker_memory",
            measured=held,
            unit="MB",
            goal=Goal(Relation.AT_MOST, 400),
            how="resident, after the sections above",
            raw={"rss_mb": round(held, 2)},
        )
    ]
