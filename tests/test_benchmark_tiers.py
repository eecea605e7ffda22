"""How the benchmark calls a plant to which cameras are added, and what it must not take for a measurement."""

from collections.abc import Iterator

import pytest

from benchmarks import attendant
from benchmarks.sections.cameras_until_it_breaks import Step, Tier, _findings, _tier
from benchmarks.sections.capture_to_coil import limit
from benchmarks.stops import Stops, percentile
from benchmarks.stopwatch import rate_after_first_batch
from benchmarks.whole_plant import MAX_AGE_S
from pipeline.kafka.connection import KafkaUnavailableError
from pipeline.kafka.records import Incoming
from pipeline.settings import Settings

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


def test_the_goal_for_a_stop_is_by_the_batches_that_were_seen() -> None:
    """By full ones, where at half load each frame has a batch of its own, it could not be missed."""
    bare_ms = {1: 80.0, 2: 160.0, 4: 320.0, 8: 640.0, 16: 1300.0}
    assert limit(bare_ms, 1) == 3 * 80 + 50
    assert limit(bare_ms, 2.5) == 3 * 320 + 50
    assert limit(bare_ms, 16) == 3 * 1300 + 50
    assert limit({size: ms * 10 for size, ms in bare_ms.items()}, 16) == MAX_AGE_S * 1000


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


def test_a_rate_begins_with_the_second_batch_and_one_batch_tells_none() -> None:
    assert rate_after_first_batch([0, 1, 2, 500, 501, 1000]) == 3.0
    for too_few in ([], [5.0], [0.0, 3.0]):
        with pytest.raises(RuntimeError, match="let more wait"):
            rate_after_first_batch(too_few)


def test_an_attendant_that_dies_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines that nobody freed gave no more samples, and the goal was met."""

    def broken(*args: object, **options: object) -> Iterator[Incoming]:
        raise KafkaUnavailableError("no Kafka broker answers")

    monkeypatch.setattr(attendant, "follow", broken)
    with pytest.raises(KafkaUnavailableError), attendant.Attendant(Settings(), 1, ["line-1"]):
        pass
