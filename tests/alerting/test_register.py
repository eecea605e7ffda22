"""Clearing, shelving, floods, common causes and silence: what a line's register of alarms promises."""

from datetime import timedelta

import pytest
from alerting.factory import NOON, POLICY, Line, heartbeat, operation, score, verdicts

from pipeline.events import Act, Action, Alarm, AlarmKind, AlarmState, BootEnd, Heartbeat, Verdict
from workers.alerting.core import effects, register, silence
from workers.alerting.core.register import FLOOD_ALARMS
from workers.alerting.core.silence import Pulse
from workers.alerting.core.state import CROWDED_OUT_FOR, FORGOTTEN_AFTER, MAX_CAMERAS, MAX_CROWDED_OUT, LineState
from workers.alerting.policy import CommonCause, LinePolicy, NotDecidableLimit, Response

pytestmark = pytest.mark.unit

S = timedelta(seconds=1)


def policy(**changes: object) -> LinePolicy:
    return POLICY.model_copy(update=changes)


def state_of(line: Line, kind: AlarmKind) -> AlarmState | None:
    entry = line.state.standing(kind)
    return entry.alarm.state if entry else None


def test_a_latched_alarm_tells_that_its_cause_is_gone_and_stays() -> None:
    line = Line(policy(off_delay_s=2)).burst()
    for n in range(3, 12):
        line.see(score(n, Verdict.OK, captured_at=NOON + n * S), age_s=n)
    assert state_of(line, AlarmKind.DEFECTS) is AlarmState.UNACK_LATCHED
    line.see(operation(Act.ACKNOWLEDGE))
    assert state_of(line, AlarmKind.DEFECTS) is AlarmState.ACK_LATCHED
    assert line.actions == [Action.HOLD]


def test_a_blind_camera_that_sees_again_ends_its_alarm_without_a_reset() -> None:
    line = Line(policy(off_delay_s=2))
    for n, verdict in enumerate(verdicts("???......")):
        line.see(score(n, verdict, captured_at=NOON + n * S), age_s=n)
    assert state_of(line, AlarmKind.NOT_INSPECTED) is AlarmState.UNACK_RTN
    line.see(operation(Act.ACKNOWLEDGE))
    assert line.standing == []


def test_the_off_delay_bears_chatter() -> None:
    line = Line(policy(off_delay_s=60))
    for n, verdict in enumerate(verdicts("???..???..???..???")):
        line.see(score(n, verdict, captured_at=NOON + n * S), age_s=n)
    assert [alarm.act for alarm in line.alarms] == [Act.RAISE]


@pytest.mark.parametrize(("lasts_s", "raised"), [(4, False), (5, True)])
def test_the_on_delay_wants_a_window_that_stays_full(lasts_s: int, raised: bool) -> None:
    line = Line(policy(on_delay_s=5))
    for n in range(3):
        line.see(score(n))
    line.see(score(3, captured_at=NOON + lasts_s * S), age_s=lasts_s)
    assert bool(line.commands) is raised


def test_a_camera_clock_that_is_set_back_does_not_put_the_on_delay_off() -> None:
    line = Line(policy(on_delay_s=5))
    for n in range(3):
        line.see(score(n, captured_at=NOON + timedelta(hours=1)))
    for n in range(3, 10):
        line.see(score(n, captured_at=NOON + n * S), age_s=n + 1)
    assert line.actions == [Action.HOLD]


def test_a_camera_clock_that_is_set_back_keeps_no_alarm_beyond_its_off_delay() -> None:
    line = Line(policy(off_delay_s=2))
    for n, verdict in enumerate(verdicts("???...")):
        line.see(score(n, verdict, captured_at=NOON + timedelta(hours=1)), age_s=n)
    for n in range(6, 10):
        line.see(score(n, Verdict.OK, captured_at=NOON + n * S), age_s=n)
    assert state_of(line, AlarmKind.NOT_INSPECTED) is AlarmState.UNACK_RTN


def test_first_in_group_says_what_began() -> None:
    blind = POLICY.not_decidable.model_copy(update={"action": Response.HOLD})
    line = Line(policy(not_decidable=blind))
    for n, verdict in enumerate(verdicts("???xxx")):
        line.see(score(n, verdict))
    assert [(alarm.kind, alarm.first) for alarm in line.alarms if alarm.act is Act.RAISE] == [
        (AlarmKind.NOT_INSPECTED, True),
        (AlarmKind.DEFECTS, False),
    ]


def test_shelving_hides_the_alarm_changes_nothing_at_the_line_and_ends_by_itself() -> None:
    line = Line().burst()
    line.see(operation(Act.SHELVE, reason="the nozzle is being changed"))
    assert state_of(line, AlarmKind.DEFECTS) is AlarmState.SHELVED
    assert line.last().beneath is AlarmState.UNACK_ACTIVE
    assert line.actions == [Action.HOLD]
    assert line.state.level is Action.HOLD
    early, none = register.tick(line.state, NOON + 600 * S)
    assert (early, none) == (line.state, ())
    _, (alarm,) = register.tick(line.state, NOON + 602 * S)
    assert isinstance(alarm, Alarm)
    assert (alarm.state, alarm.act, alarm.actor) == (AlarmState.UNACK_ACTIVE, Act.UNSHELVE, "andon")


def test_a_clock_that_was_ahead_shelves_nothing_beyond_its_time() -> None:
    line = Line().burst()
    line.see(operation(Act.SHELVE, reason="the nozzle is being changed"))
    _, (alarm,) = register.tick(line.state, NOON - timedelta(hours=3))
    assert isinstance(alarm, Alarm)
    assert (alarm.state, alarm.reason) == (AlarmState.UNACK_ACTIVE, "the clock that dated its end was ahead")


def test_one_alarm_may_be_named_alone() -> None:
    line = Line()
    for n, verdict in enumerate(verdicts("???xxx")):
        line.see(score(n, verdict))
    entry = line.state.standing(AlarmKind.NOT_INSPECTED)
    assert entry
    line.see(operation(Act.ACKNOWLEDGE, alarm_id=entry.alarm.alarm_id))
    assert state_of(line, AlarmKind.NOT_INSPECTED) is AlarmState.ACK_ACTIVE
    assert state_of(line, AlarmKind.DEFECTS) is AlarmState.UNACK_ACTIVE


def test_many_cameras_at_once_are_one_cause() -> None:
    line = Line()
    for camera in ("a", "b", "c"):
        line.burst(camera=camera)
    entry = line.state.standing(AlarmKind.COMMON_CAUSE)
    assert entry
    assert "3 cameras at once (a, b, c)" in entry.alarm.reason
    assert line.actions == [Action.HOLD]


def test_a_plant_may_choose_not_to_stop_for_a_common_cause() -> None:
    line = Line(policy(on_delay_s=3, common_cause=CommonCause(still_stops=False)))
    for n in range(3):
        for camera in ("a", "b", "c"):
            line.see(score(n, camera=camera))
    for camera in ("a", "b", "c"):
        line.see(score(3, camera=camera, captured_at=NOON + 3 * S), age_s=3)
    assert line.commands == []
    first = next(alarm for alarm in line.alarms if alarm.kind is AlarmKind.DEFECTS)
    assert "many cameras at once, so the line is not stopped" in first.reason


def test_cameras_that_do_not_agree_stop_the_line_also_where_a_common_cause_would_not() -> None:
    assert Line(policy(common_cause=CommonCause(still_stops=False))).burst().actions == [Action.HOLD]


def test_a_common_cause_is_one_of_most_cameras_that_see_frames() -> None:
    line = Line(policy(common_cause=CommonCause(cameras=3, share=0.5)))
    for number in range(7):
        line.see(score(0, Verdict.OK, camera=f"good-{number}"))
    for camera in ("a", "b", "c"):
        line.burst(camera=camera)
    assert line.state.standing(AlarmKind.COMMON_CAUSE) is None
    for camera in ("d", "e", "f", "g"):
        line.burst(camera=camera)
    assert line.state.standing(AlarmKind.COMMON_CAUSE)


def test_a_common_cause_hides_what_it_explains_and_shows_it_again() -> None:
    line = Line(policy(off_delay_s=0))
    for camera in ("a", "b", "c"):
        for n, verdict in enumerate(verdicts("???")):
            line.see(score(n, verdict, camera=camera))
    assert state_of(line, AlarmKind.NOT_INSPECTED) is AlarmState.SUPPRESSED
    for n in range(3, 8):
        line.see(score(n, Verdict.OK, camera="a"))
    assert state_of(line, AlarmKind.COMMON_CAUSE) is AlarmState.UNACK_RTN
    assert state_of(line, AlarmKind.NOT_INSPECTED) is AlarmState.UNACK_ACTIVE
    for n, verdict in enumerate(verdicts("???"), start=8):
        line.see(score(n, verdict, camera="a"))
    assert state_of(line, AlarmKind.COMMON_CAUSE) is AlarmState.UNACK_ACTIVE
    assert state_of(line, AlarmKind.NOT_INSPECTED) is AlarmState.SUPPRESSED


def test_a_camera_on_the_edge_of_its_limit_ends_no_common_cause_before_the_off_delay() -> None:
    """It went and came with each such frame, and each time all that it hides was told twice: hundreds of alarms a
    minute where many cameras are silent."""
    line = Line()
    for n, verdict in enumerate(verdicts("????.??.??.??.")):
        for camera, seen in (("a", verdict), ("b", Verdict.NOT_DECIDABLE), ("c", Verdict.NOT_DECIDABLE)):
            line.see(score(n, seen, camera=camera, captured_at=NOON + n * S), age_s=n)
    kinds = AlarmKind.COMMON_CAUSE, AlarmKind.NOT_INSPECTED
    told = [(alarm.kind, alarm.act) for alarm in line.alarms if alarm.kind in kinds]
    assert told.count((AlarmKind.COMMON_CAUSE, Act.RAISE)) == told.count((AlarmKind.NOT_INSPECTED, Act.SUPPRESS)) == 1
    assert not {Act.CLEAR, Act.UNSUPPRESS} & {act for _, act in told}
    for n in (14, 20):
        line.see(score(n, Verdict.OK, camera="a", captured_at=NOON + n * S), age_s=n)
    assert state_of(line, AlarmKind.COMMON_CAUSE) is AlarmState.UNACK_RTN


@pytest.mark.parametrize("behind_s", [300, -300], ids=["backlog", "clock ahead"])
def test_frames_of_another_minute_neither_begin_nor_end_a_common_cause(behind_s: int) -> None:
    """While one camera emptied its spool it went and came with every second: at the time of such a frame no other sees
    anything."""
    line = Line()
    for n in range(20):
        for camera in "abc":
            line.see(score(n, Verdict.NOT_DECIDABLE, camera=camera, captured_at=NOON + n * S), age_s=n)
        for each in range(10 * n, 10 * n + 10):
            line.see(score(each, camera="d", captured_at=NOON + (each - behind_s) * S), age_s=n)
    told = [alarm.act for alarm in line.alarms if alarm.kind is AlarmKind.COMMON_CAUSE]
    assert told == [Act.RAISE]
    old = Line()
    for camera in "abc":
        for n in range(4):
            old.see(score(n, camera=camera, captured_at=NOON - behind_s * S))
    assert old.state.standing(AlarmKind.COMMON_CAUSE) is None


@pytest.mark.parametrize("act", [Act.ACKNOWLEDGE, Act.UNSHELVE])
def test_an_act_on_all_alarms_tells_each_once_where_an_explaining_one_has_not_hidden_all(act: Act) -> None:
    """The states of a version that hid only what was raised later. Each was hidden as the act came to the alarm before
    it, and told of once more in its earlier form: the same revision twice, and what was hidden was not."""
    state = LineState(line_id="line-1")
    for kind in (AlarmKind.COMMON_CAUSE, AlarmKind.DRIFT):
        state, _ = register.add(state, effects.condition(state, kind, "a", "so it is", NOON))
    for entry in state.alarms:
        until = NOON + 60 * S if act is Act.UNSHELVE else None
        alarm = entry.alarm.model_copy(
            update={"state": AlarmState.UNACK_ACTIVE, "beneath": None, "shelved_until": until}
        )
        state = state.with_alarm(entry.model_copy(update={"suppressed": False, "alarm": alarm}))
    if act is Act.UNSHELVE:
        state, events = register.tick(state, NOON + 60 * S)
    else:
        line = Line(state=state)
        events, _ = line.see(operation(act))
    told = [(event.alarm_id, event.revision) for event in events if isinstance(event, Alarm)]
    assert len(told) == len(set(told)) == 2


def silent_cameras(count: int) -> tuple[LineState, list[Alarm]]:
    line = Line()
    for number in range(count):
        line.see(score(0, Verdict.OK, camera=f"c{number:02}"))
    watch = silence.look(line.state, {}, POLICY, NOON + 60 * S, NOON)
    state, events = silence.tick(line.state, watch, POLICY, NOON + 60 * S)
    return state, [event for event in events if isinstance(event, Alarm)]


def test_a_flood_is_one_alarm_and_hides_the_rest_until_it_has_run_off() -> None:
    state, raised = silent_cameras(FLOOD_ALARMS + 3)
    flood = [alarm for alarm in raised if alarm.kind is AlarmKind.FLOOD]
    assert [alarm.state for alarm in flood] == [AlarmState.UNACK_ACTIVE]
    silent = [entry.alarm.state for entry in state.alarms if entry.alarm.kind is AlarmKind.CAMERA_SILENT]
    assert silent == [AlarmState.SUPPRESSED] * (FLOOD_ALARMS + 3)
    hidden = [alarm for alarm in raised if alarm.act is Act.SUPPRESS]
    assert len(hidden) == FLOOD_ALARMS + 1  # the others came later, and hidden
    assert {alarm.reason for alarm in hidden} == {"explained by the alarm flood"}
    state, told = register.tick(state, NOON + 60 * S + timedelta(minutes=10))
    after = {entry.alarm.kind: entry.alarm.state for entry in state.alarms}
    assert after == {AlarmKind.FLOOD: AlarmState.UNACK_RTN, AlarmKind.CAMERA_SILENT: AlarmState.UNACK_ACTIVE}
    acts = [alarm.act for alarm in told if isinstance(alarm, Alarm)]
    assert acts == [Act.CLEAR, *[Act.UNSUPPRESS] * (FLOOD_ALARMS + 3)]
    # The next flood is told, and hides, although nobody has acknowledged the first.
    again = [effects.condition(state, AlarmKind.DRIFT, f"d{n}", "shifted", NOON + 900 * S) for n in range(11)]
    for alarm in again:
        state, events = register.add(state, alarm)
    assert [event.act for event in events if isinstance(event, Alarm)][:2] == [Act.RAISE, Act.RAISE]
    now = {entry.alarm.kind: entry.alarm.state for entry in state.alarms}
    assert now == {
        AlarmKind.FLOOD: AlarmState.UNACK_ACTIVE,
        AlarmKind.CAMERA_SILENT: AlarmState.SUPPRESSED,
        AlarmKind.DRIFT: AlarmState.SUPPRESSED,
    }


def test_an_alarm_that_ends_while_it_is_hidden_is_told_as_over() -> None:
    """It was told as SUPPRESSED with its last word, and stood on the page for as long as Kafka told of it."""
    state, _ = silent_cameras(FLOOD_ALARMS + 3)
    line = Line(state=state)
    line.see(operation(Act.ACKNOWLEDGE), age_s=61)
    hidden = line.state.standing(AlarmKind.CAMERA_SILENT)
    assert hidden
    assert (hidden.alarm.state, hidden.alarm.beneath) == (AlarmState.SUPPRESSED, AlarmState.ACK_ACTIVE)
    state, (told,) = register.clear(line.state, hidden, "it is back", NOON + 62 * S)
    assert isinstance(told, Alarm)
    assert (told.state, told.beneath) == (AlarmState.NORMAL, None)
    assert told.alarm_id not in {entry.alarm.alarm_id for entry in state.alarms}


def test_an_alarm_that_holds_its_line_by_a_new_policy_is_hidden_by_none() -> None:
    """Blindness that only alarmed was SUPPRESSED by the common cause, and stayed so once the line stood for it."""
    line = Line(policy(k=5, not_decidable=NotDecidableLimit(limit=3, of_last=4, action=Response.ALARM_ONLY)))
    for camera in ("a", "b", "c"):
        for n, verdict in enumerate(verdicts("???")):
            line.see(score(n, verdict, camera=camera))
    assert state_of(line, AlarmKind.NOT_INSPECTED) is AlarmState.SUPPRESSED
    line.policy = policy(k=5, not_decidable=NotDecidableLimit(limit=3, of_last=4, action=Response.HOLD))
    line.see(score(3, Verdict.NOT_DECIDABLE, camera="a"))
    assert line.actions == [Action.HOLD]
    assert state_of(line, AlarmKind.NOT_INSPECTED) is AlarmState.UNACK_ACTIVE


def test_a_flood_of_a_clock_that_was_ahead_hides_nothing_once_it_is_set_right() -> None:
    state, _ = silent_cameras(FLOOD_ALARMS + 3)
    state, _ = register.tick(state, NOON - timedelta(hours=1))
    after = {entry.alarm.kind: entry.alarm.state for entry in state.alarms}
    assert after == {AlarmKind.FLOOD: AlarmState.UNACK_RTN, AlarmKind.CAMERA_SILENT: AlarmState.UNACK_ACTIVE}


def test_ten_alarms_are_no_flood() -> None:
    assert silent_cameras(FLOOD_ALARMS)[0].standing(AlarmKind.FLOOD) is None


def beat(captured: int = 1, sent_s: float = 60, *, connected: bool = True, end: BootEnd = BootEnd.RUNNING) -> Heartbeat:
    return heartbeat(sent_s, captured=captured, connected=connected, end=end)


def dropping(unscored: int, *, held: int = 0, **dropped: int) -> Heartbeat:
    """One frame was scored."""
    counts = {"captured": unscored + 1, "published": unscored + 1 - held - sum(dropped.values()), "spooled": held}
    return beat().model_copy(update=counts | {"dropped": dropped})


@pytest.mark.parametrize(
    ("pulse", "why"),
    [
        (None, "no heartbeat of its worker"),
        (beat(sent_s=30), "no heartbeat of its worker since 12:00:30"),
        (beat(connected=False), "can't reach the source"),
        (beat(captured=1), "captures nothing"),
        (beat(captured=9), ": look at the replicas"),
        (
            dropping(8, too_large=8),
            "has given up 8 (too_large 8) since it began, and holds 0: look there while",
        ),
        (dropping(8, held=8), "has given up none since it began, and holds 8: look there while"),
        (dropping(9, too_large=2, held=5), ": look at the replicas"),
    ],
)
def test_a_silent_camera_is_told_with_where_it_breaks(pulse: Heartbeat | None, why: str) -> None:
    line = Line()
    line.see(score(0, Verdict.OK))
    pulses = {"cam-1": Pulse(pulse, NOON)} if pulse else {}
    assert silence.look(line.state, pulses, POLICY, NOON + 30 * S, NOON).silent == {}
    watch = silence.look(line.state, pulses, POLICY, NOON + 60 * S, NOON)
    assert why in watch.silent["cam-1"]
    assert not watch.alive
    state, (alarm,) = silence.tick(line.state, watch, POLICY, NOON + 60 * S)
    assert isinstance(alarm, Alarm)
    assert (alarm.kind, alarm.latching) == (AlarmKind.CAMERA_SILENT, False)
    assert silence.tick(state, watch, POLICY, NOON + 61 * S) == (state, ())


@pytest.mark.parametrize(
    ("pulse", "triggered", "held"),
    [(beat(end=BootEnd.CLEAN), False, False), (beat(), True, False), (beat(), False, True)],
    ids=["ended in good order", "triggered and no parts", "the line stands"],
)
def test_some_silence_is_all_right(pulse: Heartbeat, triggered: bool, held: bool) -> None:
    line = Line()
    if held:
        line.burst(first=0)
        pulse = pulse.model_copy(update={"captured": 3})
    else:
        line.see(score(0, Verdict.OK))
    watch = silence.look(line.state, {"cam-1": Pulse(pulse, NOON)}, policy(triggered=triggered), NOON + 60 * S, NOON)
    assert watch.silent == {}


@pytest.mark.parametrize("seen_before", [True, False])
def test_a_camera_that_has_just_been_started_is_given_its_time(seen_before: bool) -> None:
    line = Line()
    if seen_before:
        line.see(score(0, Verdict.OK))
    pulse = Pulse(beat(captured=1, sent_s=60).model_copy(update={"boot_id": "20261122T120050"}), NOON + 50 * S)
    early = silence.look(line.state, {"cam-1": pulse}, POLICY, NOON + 60 * S, NOON)
    assert (early.watched, early.silent) == (1, {})
    assert silence.look(line.state, {"cam-1": pulse}, POLICY, NOON + 81 * S, NOON).silent.keys() == {"cam-1"}


def test_a_camera_taken_away_is_forgotten_after_a_day_and_then_nothing_is_watched() -> None:
    line = Line()
    line.see(score(0, Verdict.OK))
    watch = silence.look(line.state, {}, POLICY, NOON + timedelta(hours=25), NOON)
    assert (watch.watched, watch.silent, watch.alive) == (0, {}, False)


def crowded() -> Line:
    """A line with as many cameras as it may have, and one more."""
    line = Line()
    for number in range(MAX_CAMERAS + 1):
        line.see(score(0, Verdict.OK, camera=f"c{number}"))
    return line


TOO_MANY = f"c{MAX_CAMERAS}"


def test_a_camera_too_many_is_an_alarm_at_once_and_the_line_counts_as_unwatched() -> None:
    line = crowded()
    watch = silence.look(line.state, {}, POLICY, NOON + 2 * S, NOON)
    assert watch.silent.keys() == {TOO_MANY}
    assert "give it to another line" in watch.silent[TOO_MANY]
    assert (watch.watched, watch.alive) == (MAX_CAMERAS + 1, False)


@pytest.mark.parametrize(
    "changes", [{"line_id": "line-2"}, {"end": BootEnd.CLEAN}], ids=["it has another line", "it ended in good order"]
)
def test_a_camera_too_many_that_is_gone_is_no_alarm_any_more(changes: dict[str, object]) -> None:
    pulse = Pulse(beat(sent_s=2).model_copy(update={"camera_id": TOO_MANY, **changes}), NOON)
    watch = silence.look(crowded().state, {TOO_MANY: pulse}, POLICY, NOON + 2 * S, NOON)
    assert (watch.watched, watch.silent) == (MAX_CAMERAS, {})


def test_a_heartbeat_at_this_line_takes_no_alarm_from_a_camera_too_many() -> None:
    pulse = Pulse(beat(sent_s=2).model_copy(update={"camera_id": TOO_MANY}), NOON)
    watch = silence.look(crowded().state, {TOO_MANY: pulse}, POLICY, NOON + 2 * S, NOON)
    assert watch.silent.keys() == {TOO_MANY}


def test_a_camera_too_many_that_is_heard_of_no_more_is_dropped_after_a_while() -> None:
    state = crowded().state
    later = NOON + CROWDED_OUT_FOR + 2 * S
    assert TOO_MANY not in silence.look(state, {}, POLICY, later, NOON).silent


def test_a_camera_that_gets_room_is_watched_like_any_other() -> None:
    line = crowded()
    day_later = NOON + FORGOTTEN_AFTER + S
    line.see(score(1, Verdict.OK, camera=TOO_MANY, captured_at=day_later), age_s=FORGOTTEN_AFTER.total_seconds() + 2)
    assert line.state.crowded_out == {}
    assert TOO_MANY in line.state.cameras


def test_however_many_cameras_are_too_many_each_is_told_why_it_is_not_watched() -> None:
    """Of the seventeenth on it said to look at the replicas, which scored all its frames."""
    line = Line()
    names = [f"c{number}" for number in range(MAX_CAMERAS + MAX_CROWDED_OUT + 1)]
    for name in names:
        line.see(score(0, Verdict.OK, camera=name))
    pulses = {name: Pulse(heartbeat(0, camera=name), NOON) for name in names}
    watch = silence.look(line.state, pulses, POLICY, NOON + 2 * S, NOON)
    assert {name for name, why in watch.silent.items() if "has 64 cameras already" in why} == set(names[MAX_CAMERAS:])
    gone = silence.look(line.state, pulses, POLICY, NOON + CROWDED_OUT_FOR + 2 * S, NOON).gone
    assert set(names[MAX_CAMERAS:]) <= gone.keys()
