"""What a line is promised, one promise a test."""

from datetime import timedelta
from typing import Literal

import pytest
from alerting.factory import BOOT, NOON, POLICY, Line, operation, score, verdicts

from pipeline.events import Act, Action, Alarm, AlarmKind, AlarmState, Doubt, Verdict, to_ms
from workers.alerting.core.effects import Refusal
from workers.alerting.core.line import Skip
from workers.alerting.core.operations import RESET_VALID
from workers.alerting.core.state import FORGOTTEN_AFTER, MAX_BOOTS, MAX_CAMERAS, MAX_CROWDED_OUT, Applied
from workers.alerting.core.window import EVIDENCE_FRAMES
from workers.alerting.policy import NotDecidableLimit, Response

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("parts", "k", "n", "stops_at"),
    [
        ("xxx", 3, 5, 3),
        ("xx", 3, 5, None),
        ("x.x.x", 3, 5, 5),
        ("x.x..x", 3, 5, None),
        ("x..x..x..x", 3, 5, None),
        ("x", 1, 1, 1),
        ("....x", 1, 1, 5),
        ("x?x?x", 3, 5, 5),
        ("xx???????x", 3, 3, 10),
        ("??????????", 1, 5, None),
        ("xx.x", 3, 3, None),
        ("xxxx", 4, 4, 4),
    ],
)
def test_k_bad_of_the_last_n_inspected_parts_stop_the_line(parts: str, k: int, n: int, stops_at: int | None) -> None:
    line = Line(POLICY.model_copy(update={"k": k, "n": n}))
    stopped = None
    for sequence, verdict in enumerate(verdicts(parts)):
        line.see(score(sequence, verdict))
        if line.commands and stopped is None:
            stopped = sequence + 1
    assert stopped == stops_at


def test_cameras_are_counted_apart() -> None:
    line = Line()
    for sequence in range(2):
        line.see(score(sequence, camera="cam-1"))
        line.see(score(sequence, camera="cam-2"))
    assert line.effects == []


def test_many_bad_frames_of_one_part_are_one_bad_part() -> None:
    line = Line()
    for sequence in range(20):
        line.see(score(sequence, part="the-same"))
    assert line.effects == []


def test_a_good_frame_does_not_redeem_a_bad_part() -> None:
    line = Line()
    for part in range(3):
        line.see(score(2 * part, Verdict.NOT_OK, part=f"p{part}"))
        line.see(score(2 * part + 1, Verdict.OK, part=f"p{part}"))
    assert line.actions == [Action.HOLD]


def test_a_part_turns_bad_with_a_later_frame() -> None:
    line = Line()
    for part in range(3):
        line.see(score(2 * part, Verdict.OK, part=f"p{part}"))
        line.see(score(2 * part + 1, Verdict.NOT_OK, part=f"p{part}"))
    assert line.actions == [Action.HOLD]


def test_the_hold_carries_its_evidence_and_when_it_is_void() -> None:
    line = Line().burst()
    alarm, command = line.alarms[0], line.commands[0]
    assert (alarm.kind, alarm.state, alarm.act, alarm.revision) == (
        AlarmKind.DEFECTS,
        AlarmState.UNACK_ACTIVE,
        Act.RAISE,
        1,
    )
    assert command.evidence.k == 3
    assert command.evidence.frame_ids == tuple(f"cam-1:{BOOT}:{n}" for n in range(3))
    assert command.evidence.map_keys == tuple(f"map:cam-1:{BOOT}:{n}" for n in range(3))
    assert command.expires_at == NOON + timedelta(seconds=POLICY.max_age_s)
    assert command.reason_code == "defects"
    assert command.episode_id == alarm.episode_id


def test_evidence_stays_small() -> None:
    line = Line(POLICY.model_copy(update={"k": 100, "n": 100})).burst()
    assert line.commands[0].evidence.k == 100
    assert len(line.commands[0].evidence.frame_ids) == EVIDENCE_FRAMES


def test_more_bad_parts_do_not_stop_the_line_twice() -> None:
    line = Line().burst()
    for sequence in range(3, 60):
        line.see(score(sequence))
    assert line.actions == [Action.HOLD]
    assert len(line.alarms) == 1


def test_another_camera_is_noted_once() -> None:
    line = Line().burst()
    for sequence in range(50):
        line.see(score(sequence, camera="cam-2"))
    assert line.actions == [Action.HOLD]
    assert [(alarm.act, alarm.revision) for alarm in line.alarms] == [(Act.RAISE, 1), (Act.NOTE, 2)]
    assert "cam-2" in line.last().reason


def test_good_parts_do_not_unlatch() -> None:
    line = Line().burst()
    for sequence in range(3, 50):
        line.see(score(sequence, Verdict.OK))
    assert line.standing == [AlarmKind.DEFECTS]


def test_alarm_only_never_stops() -> None:
    line = Line(POLICY.model_copy(update={"action": Response.ALARM_ONLY})).burst()
    assert line.commands == []
    assert line.standing == [AlarmKind.DEFECTS]


def test_a_blind_camera_raises_its_own_alarm_and_by_default_no_stop() -> None:
    line = Line()
    for sequence, verdict in enumerate(verdicts("?.??")):
        line.see(score(sequence, verdict))
    assert line.standing == [AlarmKind.NOT_INSPECTED]
    assert line.commands == []
    assert "dark" in line.last().reason


def test_a_blind_camera_stops_the_line_where_the_plant_wants_it() -> None:
    blind = POLICY.not_decidable.model_copy(update={"action": Response.HOLD})
    line = Line(POLICY.model_copy(update={"not_decidable": blind}))
    for sequence, verdict in enumerate(verdicts("???")):
        line.see(score(sequence, verdict))
    assert line.actions == [Action.HOLD]
    assert line.commands[0].reason_code == "not_inspected"
    line.burst(10)
    assert line.standing == [AlarmKind.NOT_INSPECTED, AlarmKind.DEFECTS]
    assert line.actions == [Action.HOLD]


def test_too_late_is_an_alarm_and_no_stop() -> None:
    line = Line().burst(age_s=10.001)
    assert line.standing == [AlarmKind.LATE]
    assert line.commands == []
    assert "not stopped" in line.last().reason


def test_just_in_time_stops() -> None:
    assert Line().burst(age_s=10).actions == [Action.HOLD]


def test_clocks_of_camera_and_replica_that_are_both_ahead_make_no_stop_valid_for_longer() -> None:
    ahead = NOON + timedelta(hours=1)
    line = Line()
    for sequence in range(3):
        line.see(score(sequence, captured_at=ahead), age_s=1)
    assert line.commands[0].expires_at == NOON + timedelta(seconds=1 + POLICY.max_age_s)


def test_a_camera_clock_that_is_ahead_makes_no_stop_valid_for_longer() -> None:
    """A PLC that is back after 50 minutes would be stopped for it."""
    blind = POLICY.not_decidable.model_copy(update={"action": Response.HOLD})
    line = Line(POLICY.model_copy(update={"not_decidable": blind}))
    for sequence in range(3):
        ahead = score(sequence, Verdict.NOT_DECIDABLE, captured_at=NOON + timedelta(hours=1), doubts=(Doubt.FUTURE,))
        line.see(ahead.model_copy(update={"scored_at": NOON}), age_s=1)
    (hold,) = line.commands
    assert hold.expires_at == NOON + timedelta(seconds=POLICY.max_age_s)


def test_a_timely_burst_after_a_late_one_stops_once() -> None:
    line = Line().burst(age_s=60)
    line.burst(10, age_s=1)
    assert line.standing == [AlarmKind.LATE, AlarmKind.DEFECTS]
    assert line.actions == [Action.HOLD]


def test_what_comes_late_after_a_stop_adds_no_alarm() -> None:
    line = Line().burst()
    line.burst(10, age_s=60)
    assert line.standing == [AlarmKind.DEFECTS]


def test_acknowledge_then_reset_then_nothing_stands() -> None:
    line = Line().burst()
    line.see(operation(Act.ACKNOWLEDGE, actor="ada", reason="on my way"))
    assert (line.last().state, line.last().actor, line.last().reason) == (AlarmState.ACK_ACTIVE, "ada", "on my way")
    line.see(operation(Act.RESET, actor="ben", reason="nozzle cleaned"))
    assert (line.last().state, line.last().actor, line.last().revision) == (AlarmState.NORMAL, "ben", 3)
    assert line.state.alarms == ()
    assert line.actions == [Action.HOLD, Action.UNHOLD_PERMITTED]
    hold, release = line.commands
    assert hold.issued_at <= release.issued_at < release.expires_at


def test_reset_before_acknowledge_is_refused_and_says_so() -> None:
    line = Line().burst()
    asked = operation(Act.RESET)
    line.see(asked)
    assert line.standing == [AlarmKind.DEFECTS]
    assert line.last().act is Act.NOTE
    assert line.last().operation_id == asked.operation_id
    assert line.last().reason == "reset refused: acknowledge the alarm before its reset"
    assert line.actions == [Action.HOLD]


def test_a_second_acknowledge_is_refused() -> None:
    line = Line().burst()
    line.see(operation(Act.ACKNOWLEDGE))
    line.see(operation(Act.ACKNOWLEDGE))
    assert line.last().reason == "acknowledge refused: already acknowledged"


def test_an_alarm_raised_after_the_acknowledge_has_to_be_acknowledged_too() -> None:
    blind = POLICY.not_decidable.model_copy(update={"action": Response.HOLD})
    line = Line(POLICY.model_copy(update={"not_decidable": blind})).burst()
    line.see(operation(Act.ACKNOWLEDGE))
    for sequence, verdict in enumerate(verdicts("???"), start=10):
        line.see(score(sequence, verdict))
    line.see(operation(Act.RESET))
    assert line.standing == [AlarmKind.DEFECTS, AlarmKind.NOT_INSPECTED]


def test_an_act_moves_only_what_stood_when_it_was_asked_for() -> None:
    """Else a request that waited, for want of a worker, would give free a stop that nobody has seen."""
    early = NOON - timedelta(hours=8)
    line = Line().burst()
    for act in (Act.ACKNOWLEDGE, Act.SHELVE, Act.RESET):
        line.see(operation(act, asked_at=early))
        assert f"{act} refused" in line.last().reason
    assert (line.last().state, line.actions) == (AlarmState.UNACK_ACTIVE, [Action.HOLD])


def test_a_stop_of_a_clock_that_was_ahead_can_be_reset_once_it_is_set_right() -> None:
    line = Line()
    for sequence in range(3):
        line.see(score(sequence, captured_at=NOON + timedelta(hours=1)), age_s=3601)
    for act in (Act.ACKNOWLEDGE, Act.RESET):
        line.see(operation(act, asked_at=NOON + timedelta(minutes=1)), age_s=61)
    assert line.actions == [Action.HOLD, Action.UNHOLD_PERMITTED]


def test_an_alarm_that_came_again_has_to_be_acknowledged_again() -> None:
    line = Line(POLICY.model_copy(update={"action": Response.ALARM_ONLY})).burst()
    line.see(operation(Act.ACKNOWLEDGE, asked_at=NOON + timedelta(seconds=2)), age_s=2)
    for number in range(3, 12):  # good for longer than the off-delay
        line.see(score(number, Verdict.OK, captured_at=NOON + timedelta(seconds=number)), age_s=number + 1)
    assert line.last().act is Act.CLEAR
    for number in range(12, 15):
        line.see(score(number, captured_at=NOON + timedelta(seconds=number)), age_s=number + 1)
    assert line.last().act is Act.RAISE
    line.see(operation(Act.ACKNOWLEDGE, asked_at=NOON + timedelta(seconds=11)), age_s=16)
    assert "before this alarm was raised" in line.last().reason
    line.see(operation(Act.ACKNOWLEDGE, asked_at=NOON + timedelta(seconds=17)), age_s=17)
    assert line.last().state is AlarmState.ACK_ACTIVE


def test_an_act_on_all_alarms_tells_of_the_one_that_was_raised_after_it_was_asked() -> None:
    """The page said that it was done, and the audit log had no refusal."""
    line = Line(POLICY.model_copy(update={"not_decidable": NotDecidableLimit(limit=3, of_last=4)})).burst()
    asked_at = NOON + timedelta(seconds=2)
    for sequence in range(3, 6):
        line.see(score(sequence, Verdict.NOT_DECIDABLE), age_s=3)
    effects, _ = line.see(operation(Act.ACKNOWLEDGE, asked_at=asked_at), age_s=4)
    told = [(alarm.kind, alarm.act) for alarm in effects if isinstance(alarm, Alarm)]
    assert told == [(AlarmKind.DEFECTS, Act.ACKNOWLEDGE), (AlarmKind.NOT_INSPECTED, Act.NOTE)]
    (refusal,) = [event for event in effects if isinstance(event, Refusal)]
    assert "before this alarm was raised" in refusal.why


def test_a_reset_that_waited_for_minutes_is_refused() -> None:
    line = Line().burst()
    line.see(operation(Act.ACKNOWLEDGE))
    asked = NOON + timedelta(seconds=10)
    line.see(operation(Act.RESET, asked_at=asked), age_s=10 + RESET_VALID.total_seconds() + 1)
    assert "asked 5 minutes ago" in line.last().reason
    assert "alerting's clock says 2026-11-22 12:05:11 UTC" in line.last().reason
    assert line.actions == [Action.HOLD]
    line.see(operation(Act.RESET, asked_at=asked), age_s=10 + RESET_VALID.total_seconds())
    assert line.actions == [Action.HOLD, Action.UNHOLD_PERMITTED]


def test_an_act_of_a_clock_that_is_ahead_grows_old_all_the_same_and_means_nothing_that_came_after_it() -> None:
    """Nobody was there to carry it out; the page's clock was an hour ahead."""
    ahead = NOON + timedelta(hours=1)
    line = Line().burst()
    line.see(operation(Act.ACKNOWLEDGE))
    line.see(operation(Act.RESET, asked_at=ahead), written_ms=to_ms(NOON), age_s=600)
    assert "reset refused: this was asked 9 minutes ago" in line.last().reason
    later = Line().burst(age_s=300)
    later.see(operation(Act.ACKNOWLEDGE, asked_at=ahead), written_ms=to_ms(NOON), age_s=301)
    assert "before this alarm was raised" in later.last().reason
    assert line.actions == [Action.HOLD]


def test_an_act_is_done_where_only_the_brokers_clock_is_behind() -> None:
    line = Line().burst()
    line.see(operation(Act.ACKNOWLEDGE, asked_at=NOON + timedelta(seconds=9)), written_ms=0, age_s=10)
    assert line.last().state is AlarmState.ACK_ACTIVE


def test_what_holds_a_line_can_be_reset_although_its_alarm_began_under_another_policy() -> None:
    line = Line()  # blind frames raise an alarm and hold nothing
    for sequence in range(3):
        line.see(score(sequence, Verdict.NOT_DECIDABLE))
    blind = POLICY.not_decidable.model_copy(update={"action": Response.HOLD})
    line.policy = POLICY.model_copy(update={"not_decidable": blind})
    line.see(score(3, Verdict.NOT_DECIDABLE))
    assert (line.actions, line.last().latching) == ([Action.HOLD], True)
    line.see(operation(Act.ACKNOWLEDGE))
    line.see(operation(Act.RESET))
    assert (line.standing, line.actions) == ([], [Action.HOLD, Action.UNHOLD_PERMITTED])


def test_a_line_without_alarms_has_nothing_to_acknowledge() -> None:
    line = Line()
    asked = operation(Act.ACKNOWLEDGE, asked_at=NOON)
    line.see(asked)
    assert line.effects == [Refusal(asked, "no alarm stands on this line", NOON + timedelta(seconds=1))]


@pytest.mark.parametrize("act", [Act.ACKNOWLEDGE, Act.RESET])
def test_what_an_old_page_asks_of_an_alarm_that_is_over_is_refused_in_words(
    act: Literal[Act.ACKNOWLEDGE, Act.RESET],
) -> None:
    """It was 'no such alarm stands', above the next episode's that did stand."""
    line = Line().burst()
    old = line.alarms[0].alarm_id
    line.see(operation(Act.ACKNOWLEDGE))
    line.see(operation(Act.RESET))
    line.see(operation(act, alarm_id=old))
    assert isinstance(refusal := line.effects[-1], Refusal)
    assert refusal.why == "the alarm that was meant is over"
    line.burst(first=10)
    line.see(operation(act, alarm_id=old))
    assert line.last().reason.endswith(
        "refused: the alarm that was meant is over; what stands now is another: look at it"
    )
    assert line.last().state is AlarmState.UNACK_ACTIVE


def test_a_reset_of_what_never_held_permits_nothing() -> None:
    line = Line().burst(age_s=60)
    line.see(operation(Act.ACKNOWLEDGE))
    line.see(operation(Act.RESET))
    assert line.commands == []


def test_old_evidence_does_not_raise_again_after_a_reset_and_new_does() -> None:
    line = Line().burst()
    line.see(operation(Act.ACKNOWLEDGE))
    line.see(operation(Act.RESET))
    line.see(score(3))
    line.see(score(4))
    assert line.state.alarms == ()
    line.see(score(5))
    assert line.actions == [Action.HOLD, Action.UNHOLD_PERMITTED, Action.HOLD]
    assert line.commands[0].command_id != line.commands[2].command_id


def test_the_same_frame_scored_twice_counts_once() -> None:
    line = Line()
    for sequence in (0, 1, 1, 0, 1):
        line.see(score(sequence, part=f"unlike-{len(line.effects)}-{sequence}"))
    assert line.effects == []
    assert line.see(score(1))[1] is Skip.DUPLICATE


def test_a_record_read_again_changes_nothing() -> None:
    line = Line().burst()
    before = line.state
    for sequence in range(3):
        assert line.see(score(sequence), offset=sequence) == ((), Skip.REPLAYED)
    assert line.state is before


def test_an_operation_read_again_changes_nothing() -> None:
    line = Line().burst()
    line.see(operation(Act.ACKNOWLEDGE), offset=4)
    before = line.state
    assert line.see(operation(Act.ACKNOWLEDGE), offset=4) == ((), Skip.REPLAYED)
    assert line.state is before


def test_a_boot_whose_clock_was_wrong_is_watched_all_the_same() -> None:
    line = Line()
    line.see(score(500, Verdict.OK))
    for sequence in range(3):
        line.see(score(sequence, boot="19700101T000000"))
    assert line.actions == [Action.HOLD]


def test_the_spool_of_an_old_boot_may_come_between_the_frames_of_the_new_one() -> None:
    line = Line()
    for sequence in range(3):
        line.see(score(100 + sequence, Verdict.OK, boot="b1"))
        line.see(score(sequence, Verdict.OK, boot="b2"))
    assert line.see(score(102, boot="b1"))[1] is Skip.DUPLICATE
    assert line.see(score(103, boot="b1"))[1] is None


def test_a_record_read_again_changes_nothing_even_after_its_boot_is_forgotten() -> None:
    line = Line()
    for boot in range(MAX_BOOTS + 1):
        line.see(score(0, boot=f"b{boot}", part="one-and-the-same"))
    before = line.state
    assert line.see(score(0, boot="b0"), offset=0) == ((), Skip.REPLAYED)
    assert line.state is before


def test_a_topic_made_anew_does_not_blind_the_line() -> None:
    line = Line()
    line.see(score(0, Verdict.OK), offset=1_000_000)
    for sequence in range(1, 4):
        line.see(score(sequence), offset=sequence - 1)
    assert line.actions == [Action.HOLD]
    assert line.state.applied.scores == 2


def test_a_topic_made_anew_together_with_the_cameras_boots_does_not_blind_the_line() -> None:
    """As after a power cut: nothing that the line knows of a camera tells that its frames are news."""
    line, at_ms = Line(), to_ms(NOON)
    line.see(score(0, Verdict.OK, boot="before"), offset=1_000_000, written_ms=at_ms)
    for sequence in range(3):
        line.see(score(sequence, boot="after"), offset=sequence, written_ms=at_ms + 1)
    assert line.actions == [Action.HOLD]
    for sequence in range(3):  # and each of them once
        assert line.see(score(sequence, boot="after"), offset=sequence, written_ms=at_ms + 1) == ((), Skip.REPLAYED)


def test_a_state_that_knows_no_time_of_its_scores_takes_none_for_news() -> None:
    line = Line()
    line.state = line.state.model_copy(update={"applied": Applied(scores=1_000)})
    assert line.see(score(0), offset=0, written_ms=11) == ((), Skip.REPLAYED)


def test_operations_made_anew_do_not_deafen_the_line() -> None:
    line = Line().burst()
    at_ms = to_ms(NOON)
    line.see(operation(Act.ACKNOWLEDGE), offset=1_000, written_ms=at_ms)
    line.see(operation(Act.RESET), offset=0, written_ms=at_ms + 1)
    assert line.actions == [Action.HOLD, Action.UNHOLD_PERMITTED]
    assert line.see(operation(Act.RESET), offset=0, written_ms=at_ms + 1) == ((), Skip.REPLAYED)


def test_a_state_that_knows_no_time_of_its_operations_takes_none_for_news() -> None:
    line = Line().burst()
    line.state = line.state.model_copy(update={"applied": Applied(operations=1_000)})
    assert line.see(operation(Act.ACKNOWLEDGE), offset=0, written_ms=11) == ((), Skip.REPLAYED)


def test_a_changed_policy_may_stop_the_line_within_the_episode_once() -> None:
    line = Line(POLICY.model_copy(update={"action": Response.ALARM_ONLY})).burst()
    line.policy = POLICY
    line.see(score(10))
    line.see(score(11))
    assert line.actions == [Action.HOLD]
    assert [alarm.act for alarm in line.alarms] == [Act.RAISE, Act.NOTE]


def test_a_stop_that_follows_an_alarm_without_one_belongs_to_its_episode() -> None:
    blind = POLICY.not_decidable.model_copy(update={"action": Response.HOLD})
    line = Line(POLICY.model_copy(update={"action": Response.ALARM_ONLY, "not_decidable": blind})).burst()
    for sequence in range(3, 6):
        line.see(score(sequence, Verdict.NOT_DECIDABLE))
    defects, more = line.alarms
    assert (defects.kind, more.kind) == (AlarmKind.DEFECTS, AlarmKind.NOT_INSPECTED)
    assert (defects.first, more.first) == (True, False)
    (hold,) = line.commands
    assert defects.episode_id == more.episode_id == hold.episode_id


def full_line() -> Line:
    """As many cameras as a line may have, each a bad part short of a stop."""
    line = Line()
    for sequence in range(POLICY.k - 1):
        for number in range(MAX_CAMERAS):
            line.see(score(sequence, camera=f"c{number}"))
    assert line.actions == []
    return line


def test_a_camera_that_was_taken_away_makes_room_after_a_day() -> None:
    line = full_line()
    day_later = NOON + FORGOTTEN_AFTER + timedelta(seconds=1)
    day_s = (day_later - NOON).total_seconds() + 1
    for number in range(1, MAX_CAMERAS):
        line.see(score(5, Verdict.OK, camera=f"c{number}", captured_at=day_later), age_s=day_s)
    line.see(score(0, Verdict.OK, camera="new", captured_at=day_later), age_s=day_s)
    assert len(line.state.cameras) == MAX_CAMERAS
    assert line.state.cameras.keys() >= {"new", "c1"}
    assert "c0" not in line.state.cameras


def test_a_camera_too_many_takes_no_others_evidence() -> None:
    line = full_line()
    for sequence in range(10):
        assert line.see(score(sequence, camera="one-too-many"))[1] is Skip.NO_ROOM
    assert line.actions == []
    line.see(score(POLICY.k - 1, camera="c0"))
    assert line.actions == [Action.HOLD]


def test_a_camera_too_many_is_read_once_like_any_other() -> None:
    line = full_line()
    line.see(score(0, camera="one-too-many"), offset=10_000)
    before = line.state
    assert line.see(score(0, camera="one-too-many"), offset=10_000) == ((), Skip.REPLAYED)
    assert line.state is before


def test_however_many_cameras_are_too_many_a_state_stays_bounded() -> None:
    line = full_line()
    for number in range(1000):
        line.see(score(0, camera=f"more-{number}"))
    assert len(line.state.cameras) == MAX_CAMERAS
    assert len(line.state.crowded_out) == MAX_CROWDED_OUT


def test_a_repeat_has_the_same_ids() -> None:
    one, other = Line().burst(), Line().burst()
    assert one.effects == other.effects
    assert isinstance(one.effects[0], Alarm)
