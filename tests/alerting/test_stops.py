"""Budgets, shadows, candidates and drift: when a stop is only told, and what never moves a limit."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from alerting.factory import NOON, POLICY, Line, operation, score

from pipeline.events import Act, Action, Alarm, AlarmKind, AlarmState, Outcome, Verdict
from workers.alerting.actuators.config import WebhookConfig
from workers.alerting.core import drift, effects, outbox, reports, stops
from workers.alerting.core.reports import Answer, Link
from workers.alerting.core.state import Spread
from workers.alerting.policy import Candidate, Drift, LinePolicy, NotDecidableLimit, Response, StopBudget

pytestmark = pytest.mark.unit


def policy(**changes: object) -> LinePolicy:
    return POLICY.model_copy(update=changes)


def give_free(line: Line) -> None:
    line.see(operation(Act.ACKNOWLEDGE))
    line.see(operation(Act.RESET))


@pytest.mark.parametrize("response", [Response.HOLD, Response.STOP, Response.REJECT])
def test_the_line_gets_the_action_that_the_plant_chose(response: Response) -> None:
    line = Line(policy(action=response)).burst()
    assert line.state.level is response.action
    give_free(line)
    assert line.actions == [response.action, Action.UNHOLD_PERMITTED]
    assert line.state.level is None


def rejecting_line_that_goes_blind(**changes: object) -> Line:
    blind = NotDecidableLimit(limit=3, of_last=4, action=Response.HOLD)
    line = Line(policy(action=Response.REJECT, not_decidable=blind, **changes)).burst()
    for sequence in range(3, 9):
        line.see(score(sequence, Verdict.NOT_DECIDABLE))
    return line


def test_a_line_that_rejects_is_held_once_nobody_sees_it() -> None:
    """It runs on, and what its cameras don't see any more is not rejected either."""
    line = rejecting_line_that_goes_blind()
    line.burst(first=20)
    assert line.actions == [Action.REJECT, Action.HOLD]
    assert line.state.level is Action.HOLD
    give_free(line)
    assert line.actions == [Action.REJECT, Action.HOLD, Action.UNHOLD_PERMITTED]
    assert line.state.latched == ()


def test_a_hold_that_took_the_place_of_a_reject_and_expired_leaves_that_in_force_and_is_asked_for_again() -> None:
    line = rejecting_line_that_goes_blind(stop_budget=StopBudget(stops=1))
    rejected, held = line.commands
    line.state, given_up = outbox.withdraw(line.state, held)
    assert given_up
    assert (line.state.last_command, line.state.proved) == (rejected, False)
    line.see(score(9, Verdict.NOT_DECIDABLE))
    assert line.actions == [Action.REJECT, Action.HOLD, Action.HOLD]
    assert len({command.command_id for command in line.commands}) == 3


def test_that_a_hold_was_not_confirmed_is_not_over_with_the_reject_beneath_it() -> None:
    line = rejecting_line_that_goes_blind()
    rejected, held = line.commands
    for command, outcome in ((held, Outcome.EXPIRED), (rejected, Outcome.ACCEPTED)):
        answer = Answer("line-1", line.state.epoch, command.command_id, outcome, "plc", "v", 1, NOON)
        line.state, _ = reports.apply(line.state, answer, NOON)
    assert (line.state.level, line.state.proved) == (Action.REJECT, True)
    not_stopped = line.state.standing(AlarmKind.NOT_STOPPED)
    assert not_stopped
    assert not_stopped.life.active
    give_free(line)
    assert line.state.standing(AlarmKind.NOT_STOPPED) is None


@pytest.mark.parametrize("blind", ["after", "before", "never"])
def test_a_reject_that_stands_at_a_plc_which_left_the_policy_is_told_although_a_hold_is_asked_for(blind: str) -> None:
    """Nobody confirms the HOLD, and what goes by the last command took the REJECT for gone."""

    def tick() -> list[tuple[Act, str]]:
        line.state, events = reports.without_plc(line.state, NOON)
        return [(alarm.act, alarm.reason) for alarm in events if isinstance(alarm, Alarm)]

    def go_blind() -> None:
        for sequence in range(3, 9):
            line.see(score(sequence, Verdict.NOT_DECIDABLE))
        assert (line.state.level, line.state.proved) == (Action.HOLD, False)

    line = Line(
        policy(action=Response.REJECT, not_decidable=NotDecidableLimit(limit=3, of_last=4, action=Response.HOLD))
    )
    line.burst()
    answer = Answer("line-1", 0, line.commands[0].command_id, Outcome.ACCEPTED, "modbus://plc", "v", 1, NOON)
    line.state, _ = reports.apply(line.state, answer, NOON)
    if blind == "before":
        go_blind()
    if blind != "never":
        line.state, _ = reports.named(line.state, None, (), NOON)
        ((act, reason),) = tick()
        assert (act, "stands at modbus://plc, a PLC that the policy does not name" in reason) == (Act.RAISE, True)
    if blind == "after":
        go_blind()
    assert blind == "never" or tick() == []
    give_free(line)  # where never: nothing was told yet, as the policy lost its PLC before this was confirmed
    (again, reason), (over, _) = tick()
    assert (again, over) == (Act.RAISE, Act.CLEAR)
    assert "the reset took nothing back at modbus://plc" in reason
    line.burst(first=20)  # nothing shows whether somebody has freed the old PLC meanwhile
    assert tick() == []


def test_what_may_stand_of_two_stops_that_were_given_up_is_not_called_the_last_of_them_nor_reset() -> None:
    """The line stood by the HOLD, and 'it may be the REJECT' was told; or 'the reset took nothing back', and nobody had
    reset anything."""
    line = rejecting_line_that_goes_blind()
    rejected, held = line.commands
    line.state, _ = outbox.withdraw(line.state, held)
    for outcome in (Outcome.ACCEPTED, Outcome.EXPIRED):
        answer = Answer("line-1", 0, rejected.command_id, outcome, "modbus://plc", "v", 1, NOON)
        line.state, _ = reports.apply(line.state, answer, NOON)
    line.state, (told,) = reports.apply(line.state, Link("line-1", 0, False, NOON, "is stopped", True), NOON)
    assert isinstance(told, Alarm)
    assert told.reason == "is stopped. It may be one that was given up as unconfirmed: a reset takes that back"
    line.state, (gone,) = reports.named(line.state.model_copy(update={"named": "modbus://plc"}), None, (), NOON)
    assert isinstance(gone, Alarm)
    assert "so a reset will not take it back there" in gone.reason
    assert reports.without_plc(line.state, NOON)[1] == ()


def test_a_stop_at_a_plc_that_left_the_policy_is_told_on_the_alarm_that_it_does_not_answer() -> None:
    """A broken PLC is what one takes out."""
    line = Line().burst()
    answer = Answer("line-1", 0, line.commands[0].command_id, Outcome.ACCEPTED, "modbus://plc", "v", 1, NOON)
    for report in (answer, Link("line-1", 0, False, NOON, "nothing answers")):
        line.state, _ = reports.apply(line.state, report, NOON)
    line.state, _ = reports.named(line.state, "modbus://plc", (), NOON)
    line.state, (told,) = reports.named(line.state, None, (), NOON)
    assert isinstance(told, Alarm)
    assert (told.kind, told.act) == (AlarmKind.PLC, Act.NOTE)
    assert "HOLD stands at modbus://plc, a PLC that the policy does not name" in told.reason
    assert reports.named(line.state, None, (), NOON)[1] == reports.without_plc(line.state, NOON)[1] == ()


def test_a_reject_and_the_hold_after_it_that_both_expired_unsent_keep_no_later_one_from_being_asked_for() -> None:
    line = rejecting_line_that_goes_blind()
    line.state = outbox.post(line.state, line.commands, 0, 0)
    late = NOON + timedelta(seconds=60)
    line.state = outbox.settle(line.state, outbox.NOTHING, late)
    assert line.state.level is None
    for sequence in range(20, 23):
        line.see(score(sequence, captured_at=late), age_s=61)
    assert line.actions == [Action.REJECT, Action.HOLD, Action.REJECT]


def test_a_hold_that_may_have_got_through_is_not_written_over_by_a_reject() -> None:
    """Its PLC is silent, so it was not confirmed, and is void. Rejecting, the line would run, and nobody reset it."""
    late = NOON + timedelta(seconds=60)
    blind = rejecting_line_that_goes_blind(actuator=WebhookConfig.model_construct(type="webhook"))
    held = Line(policy(actuator=WebhookConfig.model_construct(type="webhook"))).burst()
    held.policy = held.policy.model_copy(update={"action": Response.REJECT})
    for line in (blind, held):
        before = line.actions
        for sequence in range(20, 23):
            line.see(score(sequence, captured_at=late), age_s=61)
        assert line.actions == before
        assert line.state.level is Action.HOLD


def test_a_reject_in_force_outlasts_a_stop_that_is_only_told_and_is_taken_back_by_a_reset() -> None:
    """Put into shadow, the line went on rejecting for ever: the reset found nothing to take back."""
    line = Line(policy(action=Response.REJECT)).burst()
    limit = NotDecidableLimit(limit=3, of_last=4, action=Response.HOLD)
    line.policy = line.policy.model_copy(update={"shadow": True, "not_decidable": limit})
    for sequence in range(3, 9):
        line.see(score(sequence, Verdict.NOT_DECIDABLE))
    assert line.state.level is Action.REJECT
    give_free(line)
    assert line.actions[-1] is Action.UNHOLD_PERMITTED


def test_that_a_hold_was_not_confirmed_outlasts_the_reject_that_expired_after_it() -> None:
    line = rejecting_line_that_goes_blind()
    for command in reversed(line.commands):
        answer = Answer("line-1", line.state.epoch, command.command_id, Outcome.EXPIRED, "plc", "v", 1, NOON)
        line.state, _ = reports.apply(line.state, answer, NOON)
    line.burst(first=20)
    again = line.commands[-1]
    assert again.action is Action.REJECT
    answer = Answer("line-1", line.state.epoch, again.command_id, Outcome.ACCEPTED, "plc", "v", 1, NOON)
    line.state, _ = reports.apply(line.state, answer, NOON)
    not_stopped = line.state.standing(AlarmKind.NOT_STOPPED)
    assert not_stopped
    assert not_stopped.life.active


def test_a_line_that_is_held_is_not_let_run_to_reject() -> None:
    line = Line(policy()).burst()
    line.policy = policy(action=Response.REJECT)
    line.burst(first=10)
    assert line.actions == [Action.HOLD]


def test_beyond_the_budget_of_a_shift_there_are_alarms_only_and_loudly() -> None:
    line = Line(policy(stop_budget=StopBudget(stops=2)))
    for episode in range(3):
        line.burst(first=10 * episode)
        give_free(line)
    assert line.actions == [Action.HOLD, Action.UNHOLD_PERMITTED] * 2
    assert line.state.standing(AlarmKind.STOPS_SPENT)
    spent = next(alarm for alarm in line.alarms if alarm.kind is AlarmKind.STOPS_SPENT)
    assert "2 stops of this shift are spent" in spent.reason
    assert any("spent, so the line is not stopped" in a.reason for a in line.alarms if a.kind is AlarmKind.DEFECTS)


def test_a_stop_that_expired_takes_none_of_the_budget_until_its_line_confirms_it() -> None:
    limited = policy(stop_budget=StopBudget(stops=1))
    line = Line(limited).burst()
    line.state, _ = outbox.withdraw(line.state, line.commands[0])
    assert stops.stops_left(line.state, StopBudget(stops=1), NOON) == 1
    confirmed = outbox.adopt(line.state, line.commands[0])
    assert stops.stops_left(confirmed, StopBudget(stops=1), NOON) == 0
    line.see(score(3, captured_at=NOON + timedelta(seconds=20)), age_s=21)
    assert line.actions == [Action.HOLD, Action.HOLD]
    assert line.state.standing(AlarmKind.STOPS_SPENT) is None


WITH_PLC = policy(actuator=WebhookConfig.model_construct(type="webhook"))


@pytest.mark.parametrize(("confirmed", "asked"), [(False, 2), (True, 1)])
def test_a_stop_that_is_void_while_its_plc_is_silent_keeps_no_later_burst_from_stopping_the_line(
    confirmed: bool, asked: int
) -> None:
    """It was given up only once the PLC answered; what was found between, timely until then, was never asked for."""
    line = Line(WITH_PLC.model_copy(update={"stop_budget": StopBudget(stops=1)})).burst()
    line.state = line.state.model_copy(update={"proved": confirmed})
    line.see(score(3, captured_at=NOON + timedelta(seconds=12)), age_s=13)
    line.see(score(4, captured_at=NOON + timedelta(seconds=13)), age_s=14)
    assert line.actions == [Action.HOLD] * asked
    assert len({command.command_id for command in line.commands}) == asked
    assert line.state.last_command == line.commands[-1]
    assert stops.stops_left(line.state, StopBudget(stops=1), NOON) == 0
    late = score(5, captured_at=NOON + timedelta(seconds=14))
    line.see(late, age_s=60)
    assert len(line.commands) == asked
    assert line.state.level is Action.HOLD


def test_without_a_plc_a_line_is_asked_once_however_long_nobody_confirms() -> None:
    line = Line().burst()
    line.see(score(3, captured_at=NOON + timedelta(seconds=60)), age_s=61)
    assert line.actions == [Action.HOLD]


def test_parts_that_are_diverted_take_none_of_the_budget() -> None:
    blind = NotDecidableLimit(limit=3, of_last=4, action=Response.HOLD)
    line = Line(policy(action=Response.REJECT, not_decidable=blind, stop_budget=StopBudget(stops=1))).burst()
    give_free(line)
    for sequence in range(10, 13):
        line.see(score(sequence, Verdict.NOT_DECIDABLE))
    assert line.actions == [Action.REJECT, Action.UNHOLD_PERMITTED, Action.HOLD]


def test_who_acknowledged_an_alarm_of_a_running_line_is_asked_again_once_it_is_stopped_for_it() -> None:
    """The line stood, and nobody was called. A reset that was on its way freed it."""
    line = Line(policy(stop_budget=StopBudget(stops=1))).burst()
    give_free(line)
    line.burst(first=10)
    line.see(operation(Act.ACKNOWLEDGE))
    tomorrow, a_day_s = NOON + timedelta(days=1), 86_401
    for sequence in range(20, 23):
        line.see(score(sequence, captured_at=tomorrow), age_s=a_day_s)
    assert line.actions == [Action.HOLD, Action.UNHOLD_PERMITTED, Action.HOLD]
    told = [alarm for alarm in line.alarms if alarm.kind is AlarmKind.DEFECTS][-1]
    assert (told.state, told.act) == (AlarmState.UNACK_ACTIVE, Act.RAISE)
    assert "HOLD is asked for behind it" in told.reason
    line.see(operation(Act.RESET, asked_at=NOON + timedelta(seconds=30)), age_s=a_day_s + 1)
    assert line.state.level is Action.HOLD


def test_a_stop_that_is_asked_for_again_since_none_was_confirmed_asks_nobody_again() -> None:
    line = Line(WITH_PLC).burst()
    line.see(operation(Act.ACKNOWLEDGE))
    line.see(score(3, captured_at=NOON + timedelta(seconds=12)), age_s=13)
    assert line.actions == [Action.HOLD] * 2
    standing = line.state.standing(AlarmKind.DEFECTS)
    assert standing
    assert standing.alarm.state is AlarmState.ACK_ACTIVE


@pytest.mark.parametrize("asked_again", [True, False])
def test_only_who_acknowledged_a_stop_once_it_was_given_up_is_asked_again_by_the_next(asked_again: bool) -> None:
    """Who acknowledged it then saw a line that ran: the next HOLD was a note, so the line stood and nobody was called.
    Who had seen the HOLD was asked anew for no news where a REJECT had been given up between."""
    line = rejecting_line_that_goes_blind()
    rejected, held = line.commands
    if asked_again:
        line.state, _ = outbox.withdraw(line.state, held)
    line.see(operation(Act.ACKNOWLEDGE))
    if not asked_again:
        for command in (held, rejected):
            line.state, _ = outbox.withdraw(line.state, command)
    line.see(score(9, Verdict.NOT_DECIDABLE))
    assert line.actions == [Action.REJECT, Action.HOLD, Action.HOLD]
    standing = line.state.standing(AlarmKind.NOT_INSPECTED)
    assert standing
    assert standing.life.unacknowledged is asked_again


def test_who_acknowledged_an_alarm_while_another_held_the_line_is_asked_again_by_a_stop_for_it_after_the_reset() -> (
    None
):
    """It was acknowledged for a HOLD that was reset since; the next was a note, so the line stood and nobody was
    called."""
    line = Line().burst()
    for number in range(3, 6):
        line.see(score(number, Verdict.NOT_DECIDABLE))
    line.see(operation(Act.ACKNOWLEDGE))
    line.see(operation(Act.RESET))
    line.policy = policy(not_decidable=NotDecidableLimit(limit=3, of_last=4, action=Response.HOLD))
    for number in range(6, 9):  # the reset has forgotten what was seen
        line.see(score(number, Verdict.NOT_DECIDABLE))
    assert line.actions == [Action.HOLD, Action.UNHOLD_PERMITTED, Action.HOLD]
    standing = line.state.standing(AlarmKind.NOT_INSPECTED)
    assert standing
    assert standing.life.unacknowledged


def test_that_a_reject_was_not_confirmed_keeps_no_later_hold_from_asking_for_a_person() -> None:
    line = Line(policy(action=Response.REJECT, actuator=WITH_PLC.actuator)).burst()
    line.see(score(3, captured_at=NOON + timedelta(seconds=12)), age_s=13)
    line.see(operation(Act.ACKNOWLEDGE), age_s=14)
    line.policy = WITH_PLC
    line.see(score(4, captured_at=NOON + timedelta(seconds=15)), age_s=16)
    assert line.actions == [Action.REJECT, Action.REJECT, Action.HOLD]
    standing = line.state.standing(AlarmKind.DEFECTS)
    assert standing
    assert standing.alarm.state is AlarmState.UNACK_ACTIVE


def test_a_new_shift_has_a_new_budget() -> None:
    limited = policy(stop_budget=StopBudget(stops=1))
    line = Line(limited)
    for episode in range(2):
        line.burst(first=10 * episode)
        give_free(line)
    same, none = stops.tick(line.state, limited, NOON + timedelta(minutes=1))
    assert (same, none) == (line.state, ())
    state, _ = stops.tick(line.state, limited, NOON.replace(hour=14, minute=1))
    assert state.standing(AlarmKind.STOPS_SPENT) is None
    assert stops.stops_left(state, StopBudget(stops=1), NOON.replace(hour=14, minute=1)) == 1


def test_that_the_stops_of_a_shift_are_spent_is_told_anew_although_nobody_has_seen_it_of_the_shift_before() -> None:
    """Its alarm stayed `returned to normal`, for a line that was not stopped any more."""
    line = Line(policy(stop_budget=StopBudget(stops=1)))
    for first in range(4):  # 12:00, 13:00, 14:00, 15:00: two of a shift
        hour_s = 3600 * first
        line.state, _ = stops.tick(line.state, line.policy, NOON + timedelta(seconds=hour_s))
        for sequence in range(10 * first, 10 * first + 3):
            line.see(score(sequence, captured_at=NOON + timedelta(seconds=hour_s)), age_s=hour_s)
        defects = line.state.standing(AlarmKind.DEFECTS)
        assert defects
        line.see(operation(Act.ACKNOWLEDGE, alarm_id=defects.alarm.alarm_id), age_s=hour_s)
        line.see(operation(Act.RESET), age_s=hour_s)
    assert line.actions == [Action.HOLD, Action.UNHOLD_PERMITTED] * 2
    spent = line.state.standing(AlarmKind.STOPS_SPENT)
    assert spent
    assert spent.life.active


def test_a_stop_that_a_clock_dated_ahead_counts_in_the_shift_that_made_it_and_in_no_later() -> None:
    budget = StopBudget(stops=1)
    line = Line(policy(stop_budget=budget)).burst()
    night, morning = NOON.replace(hour=4), NOON.replace(hour=7)  # the clock was eight hours ahead
    state, _ = stops.tick(line.state, policy(stop_budget=budget), night)
    assert stops.stops_left(state, budget, night) == 0
    assert stops.stops_left(state, budget, morning) == 1


@pytest.mark.parametrize(
    ("hour", "began"), [(5, (21, 22)), (6, (22, 6)), (13, (22, 6)), (14, (22, 14)), (23, (22, 22))]
)
def test_shifts_begin_by_the_plants_clock(hour: int, began: tuple[int, int]) -> None:
    day, start = began
    at = datetime(2026, 11, 22, hour, tzinfo=UTC)
    assert StopBudget(stops=1).shift_began(at) == datetime(2026, 11, day, start, tzinfo=UTC)
    berlin = StopBudget(stops=1, timezone="Europe/Berlin").shift_began(at - timedelta(hours=1))
    assert berlin == datetime(2026, 11, day, start, tzinfo=UTC) - timedelta(hours=1)


def test_a_line_in_shadow_mode_tells_its_stop_once_and_stops_nothing() -> None:
    line = Line(policy(shadow=True)).burst()
    line.burst(first=10)
    assert line.commands == []
    (told,) = line.shadows
    assert (told.simulated, told.action, told.candidate) == (True, Action.HOLD, None)
    assert line.state.level is None
    assert "shadow mode" in line.alarms[0].reason
    give_free(line)
    assert line.commands == []


def test_a_candidate_tells_each_stop_that_it_would_have_made() -> None:
    line = Line(policy(candidates={"stricter": Candidate(threshold=0.3), "laxer": Candidate(threshold=0.95)}))
    for n in range(3):
        line.see(score(n, Verdict.OK, score=0.4))
    assert line.effects == []
    for n in range(3, 8):
        line.see(score(n, Verdict.OK, score=0.1))
    for n in range(8, 11):
        line.see(score(n, score=0.9))
    assert [(told.candidate, told.threshold, told.evidence.k) for told in line.shadows] == [("stricter", 0.3, 3)] * 2
    assert line.shadows[0].command_id != line.shadows[1].command_id
    assert all(told.simulated for told in line.shadows)
    assert line.actions == [Action.HOLD]


def test_a_candidate_judges_no_frame_that_nobody_could_judge_and_nothing_late() -> None:
    line = Line(policy(candidates={"c": Candidate(threshold=0.0)}))
    for n in range(3):
        line.see(score(n, Verdict.NOT_DECIDABLE, score=0.9))
    line.burst(first=10, age_s=60)
    assert line.shadows == []


def drifted(ranks: list[float]) -> Line:
    line = Line(policy(drift=Drift(frames=50)))
    for n, rank in enumerate(ranks):
        line.see(score(n, Verdict.OK, rank=rank))
    return line


EVEN = [((7 * n) % 100 + 0.5) / 100 for n in range(200)]
HIGH = [0.6 + 0.4 * rank for rank in EVEN]


def test_scores_that_lie_as_calibrated_are_no_drift() -> None:
    line = drifted(EVEN)
    assert line.effects == []
    spread = line.state.cameras["cam-1"].spread
    assert spread
    found = drift.shift(spread, Drift(frames=50))
    assert found
    assert found.distance < 0.1


def test_drift_is_the_largest_distance_at_a_level_of_the_calibration() -> None:
    counts = (1.0, 1.0, 2.0, 6.0, 5.0, 3.0, 1.0, 1.0)
    found = drift.shift(Spread(model_hash="h", counts=counts, frames=50), Drift(frames=50))
    assert found == drift.Shift(distance=pytest.approx(0.05), level=0.05, share=0.1)
    with_more = (1.0, 1.0, 2.0, 6.0, 5.0, 0.0, 4.0, 1.0)
    found = drift.shift(Spread(model_hash="h", counts=with_more, frames=50), Drift(frames=50))
    assert found == drift.Shift(distance=pytest.approx(0.2), level=0.95, share=0.75)


def test_drift_forgets_what_lies_long_ago() -> None:
    line = drifted([0.995] * 50 + [0.5] * 150)
    spread = line.state.cameras["cam-1"].spread
    assert spread
    assert 0 < spread.counts[-1] < 0.1 * spread.counts[3]


def test_shifted_scores_raise_a_maintenance_alarm_and_move_no_limit() -> None:
    line = drifted(HIGH)
    (alarm,) = line.alarms
    assert (alarm.kind, alarm.latching, alarm.camera_id) == (AlarmKind.DRIFT, False, "cam-1")
    assert "No limit was moved" in alarm.reason
    assert line.commands == []
    assert line.policy.drift == Drift(frames=50)


def test_a_drift_that_is_told_makes_no_alarm_with_each_score(monkeypatch: pytest.MonkeyPatch) -> None:
    condition, made = effects.condition, list[Alarm]()

    def counted(*facts: Any) -> Alarm:
        made.append(condition(*facts))
        return made[-1]

    monkeypatch.setattr(effects, "condition", counted)
    drifted(HIGH + HIGH)
    assert [alarm.kind for alarm in made] == [AlarmKind.DRIFT]


def test_drift_ends_when_the_scores_are_back() -> None:
    line = drifted(HIGH + EVEN + EVEN)
    assert line.last().act is Act.CLEAR


def test_drift_does_not_come_and_go_about_its_limit() -> None:
    limit = Drift().shift
    nearly_back = [0.9 * limit + (1 - 0.9 * limit) * rank for rank in EVEN]
    line = drifted(HIGH + nearly_back + nearly_back)
    spread = line.state.cameras["cam-1"].spread
    assert spread
    found = drift.shift(spread, Drift(frames=50))
    assert found
    assert drift.OVER * limit < found.distance < limit
    (alarm,) = line.alarms
    assert alarm.act is Act.RAISE


def test_another_model_is_judged_by_its_own_frames() -> None:
    line = drifted(HIGH[:40])
    ref = score(0).model.model_copy(update={"hash": "another"})
    for n in range(40, 80):
        line.see(score(n, Verdict.OK, rank=0.9, model=ref))
    assert line.effects == []


def test_frames_that_nobody_could_judge_do_not_count() -> None:
    line = Line(policy(drift=Drift(frames=50)))
    for n in range(100):
        line.see(score(n, Verdict.NOT_DECIDABLE, rank=1.0))
    assert line.state.standing(AlarmKind.DRIFT) is None


@pytest.mark.parametrize("evening", [datetime(2026, 3, 28, 20, tzinfo=UTC), datetime(2026, 10, 24, 20, tzinfo=UTC)])
def test_in_the_night_that_the_clocks_change_a_shift_begins_once_and_never_ahead(evening: datetime) -> None:
    """In autumn the spent budget of the shift before counted once more, and in spring no stop counted at all, for half
    an hour each."""
    budget = StopBudget.model_validate({"stops": 1, "shifts": ["02:30", "10:30", "18:30"], "timezone": "Europe/Berlin"})
    times = [evening + timedelta(minutes=5 * n) for n in range(12 * 24)]
    began = [budget.shift_began(at) for at in times]
    assert all(start <= at for start, at in zip(began, times, strict=True))
    assert began == sorted(began)
    assert len(set(began)) == 4
