"""How the benchmark calls a plant to which cameras are added."""

import pytest

from benchmarks.sections.cameras_until_it_breaks import Step, Tier, _findings, _tier
from benchmarks.stops import Stops, percentile

pytestmark = pytest.mark.unit
LIMIT_MS, BATCH_MS = 2500.0, 800.0


def stops(to_coil_ms: float = 300, growth_ms: float = 0, not_in_time: int = 0) -> Stops:
    return Stops(
        to_coil_ms=[to_coil_ms] * 100,
        stages_ms={"infer": 60.0},
        frames=200,
        bad=100,
        latched=0,
        not_in_time=not_in_time,
        batch=2,
        to_score_ms=[200 + growth_ms * at / 200 for at in range(200)],
    )


def test_a_plant_is_stable_degrading_or_failing_by_what_waits_and_by_how_late_its_stops_are() -> None:
    assert _tier(stops(), LIMIT_MS, BATCH_MS) is Tier.STABLE
    assert _tier(stops(to_coil_ms=3000), LIMIT_MS, BATCH_MS) is Tier.DEGRADING
    assert _tier(stops(growth_ms=2000), LIMIT_MS, BATCH_MS) is Tier.FAILING
    assert _tier(stops(not_in_time=1), LIMIT_MS, BATCH_MS) is Tier.FAILING


def test_a_frame_that_the_audit_misses_is_told() -> None:
    whole = {"captured": 10, "scored": 7, "dropped": 1, "dead": 1, "in_flight": 1, "missing": 0}
    steps = [
        Step(4, 2.0, Tier.STABLE, stops(), whole),
        Step(9, 4.5, Tier.FAILING, stops(), whole | {"scored": 5, "missing": 2}),
    ]
    stable, lost = _findings(steps, 5.0, LIMIT_MS)
    assert stable.measured == 4
    assert (lost.measured, lost.met) == (2, False)
    assert _findings(steps[:1], 5.0, LIMIT_MS)[1].met


def test_a_percentile_of_a_hundred_is_one_of_them() -> None:
    assert percentile(list(range(100)), 0.99) == 99
    assert percentile([5.0], 0.5) == 5.0
