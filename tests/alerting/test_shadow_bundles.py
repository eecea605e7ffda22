"""A shadow bundle's verdicts under the line's policy: the stops that it would have made, and none that it makes."""

from datetime import timedelta

import pytest
from alerting.factory import NOON, POLICY, Line, score, verdicts

from pipeline.events import Action, Doubt, ModelRef, Score, ShadowScore, ShadowSkip, Verdict
from workers.alerting.people.beside import LIVE, beside
from workers.alerting.policy import Candidate, LinePolicy, NotDecidableLimit, Response

pytestmark = pytest.mark.unit

NEXT = ModelRef(bundle="next", method="null", hash="n1")


def shadowed(sequence: int, live: Verdict, shadow: Verdict | None, model: ModelRef = NEXT, **more: object) -> Score:
    blind = shadow is Verdict.NOT_DECIDABLE
    found = ShadowScore(
        bundle="/bundles/next",
        verdict=shadow,
        skipped=None if shadow else ShadowSkip.BACKLOG,
        doubts=(Doubt.BLURRED,) if blind else (),
        score=None if blind or shadow is None else 7.5 if shadow is Verdict.NOT_OK else 0.5,
        threshold=7.0,
        model=model,
    )
    return score(sequence, live, shadow=found, **more)


def seen(live: str, shadow: str, policy: LinePolicy = POLICY, model: ModelRef = NEXT) -> Line:
    """One frame a letter; '-' where the shadow did not look."""
    line = Line(policy)
    for i, (verdict, other) in enumerate(zip(verdicts(live), shadow, strict=True)):
        line.see(shadowed(i, verdict, None if other == "-" else verdicts(other)[0], model))
    return line


def test_it_tells_a_stop_that_the_live_bundle_did_not_make_and_asks_the_line_for_nothing() -> None:
    line = seen(".....", "xx.x.")
    assert (line.commands, line.alarms, line.state.level) == ([], [], None)
    (told,) = line.shadows
    assert (told.action, told.simulated, told.candidate) == (Action.HOLD, True, "shadow:next")
    assert (told.score, told.threshold, told.model) == (7.5, 7.0, NEXT)
    assert (told.evidence.k, told.evidence.n, told.part_id) == (3, 5, "part-3")


def test_it_does_not_tell_the_stops_that_only_the_live_bundle_makes() -> None:
    line = seen("xxx", "...")
    assert line.actions == [Action.HOLD]
    assert line.shadows == []


def test_one_burst_is_one_stop_and_the_next_another() -> None:
    assert len(seen("." * 16, "xxxxx.....xxxxx.").shadows) == 2


def test_what_it_did_not_look_at_says_nothing_for_or_against() -> None:
    assert len(seen("......", "x-x--x").shadows) == 1
    assert seen("......", "xx----").shadows == []


def test_its_own_blindness_counts_where_blindness_stops_the_line() -> None:
    moves = LinePolicy(
        k=3, n=5, action=Response.HOLD, not_decidable=NotDecidableLimit(limit=3, of_last=4, action=Response.STOP)
    )
    (told,) = seen("....", "????", moves).shadows
    assert (told.action, told.reason_code) == (Action.STOP, "not_inspected")
    assert seen("....", "????").shadows == [], "where blindness only alarms, there is no stop to tell"


def test_the_on_delay_of_the_policy_holds_for_it_too() -> None:
    line = Line(POLICY.model_copy(update={"on_delay_s": 2}))
    for i in range(8):
        at = NOON + timedelta(seconds=i * 0.5)
        line.see(shadowed(i, Verdict.OK, Verdict.NOT_OK, captured_at=at), age_s=5)
    (told,) = line.shadows
    assert told.captured_at == NOON + timedelta(seconds=3), "full since 1 s"


def test_nothing_late_would_have_stopped_the_line() -> None:
    line = Line()
    for i in range(5):
        line.see(shadowed(i, Verdict.OK, Verdict.NOT_OK), age_s=60)
    assert line.shadows == []


def test_another_bundle_under_the_same_name_begins_anew() -> None:
    line = seen("..", "xx")
    line.see(shadowed(2, Verdict.OK, Verdict.NOT_OK, NEXT.model_copy(update={"hash": "n2"})))
    assert line.shadows == []
    assert line.state.cameras["cam-1"].trials["shadow:next"].model_hash == "n2"


def test_a_shadow_that_is_taken_away_is_forgotten() -> None:
    line = seen("..", "xx")
    line.see(score(2, Verdict.OK))
    assert line.state.cameras["cam-1"].trials == {}


def test_the_live_line_is_decided_as_if_there_were_no_shadow() -> None:
    live = "x.xx.?.xxx??x.x"
    plain = Line()
    for i, verdict in enumerate(verdicts(live)):
        plain.see(score(i, verdict))
    beside = seen(live, "xxx?.-x?x-xxxx-")
    assert beside.effects == plain.effects
    assert beside.state.alarms == plain.state.alarms


def test_made_and_told_stops_stand_side_by_side_and_a_repeat_is_one() -> None:
    line = seen("xxx..", "xx.x.", POLICY.model_copy(update={"candidates": {"stricter": Candidate(threshold=0.05)}}))
    told = beside([*line.shadows, *line.commands, *line.shadows])
    assert [(one.judge, one.stops, one.cameras) for one in told] == [
        (LIVE, 1, ("cam-1",)),
        ("shadow:next", 1, ("cam-1",)),
        ("stricter", 1, ("cam-1",)),
    ]
    assert told[1].models == ("next n1",)
