"""What a takeover may say of cameras that it has not seen yet: nothing good, and nothing bad too early."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from alerting.factory import NOON, POLICY, Line, heartbeat, operation, score
from hypothesis import given
from hypothesis import strategies as st

from pipeline.events import Act, Alarm, AlarmKind, AlarmState, BootEnd, Heartbeat, Verdict
from workers.alerting.core import effects, register, silence
from workers.alerting.core.silence import Pulse, Watch, hear
from workers.alerting.core.state import FORGOTTEN_AFTER, Episode, LineState

pytestmark = pytest.mark.unit

S = timedelta(seconds=1)
LIMIT_S = POLICY.silent_after_s
HOUR_S = 3600


def scored(*cameras: str, at_s: float = 0) -> LineState:
    line = Line()
    for camera in cameras:
        line.see(score(0, Verdict.OK, camera=camera, captured_at=NOON + at_s * S), age_s=at_s + 1)
    return line.state


def beat(camera: str = "cam-1", *, sent_s: float, captured: int = 1, end: BootEnd = BootEnd.RUNNING) -> Heartbeat:
    return heartbeat(sent_s, camera=camera, captured=captured, end=end)


def taken_over(state: LineState) -> LineState:
    """As the successor reads it."""
    return LineState.from_json(state.to_json(), "here")


def look(state: LineState, at_s: float, since_s: float = 0, pulses: Mapping[str, Pulse] | None = None) -> Watch:
    return silence.look(state, pulses or {}, POLICY, NOON + at_s * S, NOON + since_s * S)


def tick(
    state: LineState, at_s: float, since_s: float = 0, pulses: Mapping[str, Pulse] | None = None
) -> tuple[LineState, list[Alarm]]:
    state, events = silence.tick(state, look(state, at_s, since_s, pulses), POLICY, NOON + at_s * S)
    return state, [event for event in events if isinstance(event, Alarm)]


def test_a_line_is_judged_by_what_concerns_it_as_by_all_heartbeats_of_the_factory() -> None:
    """To go through all of them for each of 1,000 lines took a second, and a stop waited for it."""
    state = scored("cam-1")
    elsewhere = {"line_id": "line-2"}
    beats = {
        "cam-1": beat("cam-1", sent_s=0).model_copy(update=elsewhere),  # moved
        "cam-2": beat("cam-2", sent_s=0),
        "cam-3": beat("cam-3", sent_s=0).model_copy(update=elsewhere),
    }
    pulses = {name: Pulse(one, one.sent_at) for name, one in beats.items()}
    concerns = silence.for_each_line(pulses)(state)
    assert concerns == {name: pulses[name] for name in ("cam-1", "cam-2")}
    for at_s in (1, LIMIT_S + 1, 25 * HOUR_S):
        assert look(state, at_s, pulses=concerns) == look(state, at_s, pulses=pulses)


def test_a_takeover_proves_no_life() -> None:
    state = taken_over(scored("cam-1"))
    for after_s in (0, 1, LIMIT_S - 1, LIMIT_S + 1):
        assert not look(state, HOUR_S + after_s, since_s=HOUR_S).alive


def test_a_worker_whose_clock_is_behind_that_of_the_last_takes_no_old_score_for_new() -> None:
    state = taken_over(scored("cam-1"))
    assert look(state, -1, since_s=-1).alive
    assert not look(state, -HOUR_S, since_s=-HOUR_S).alive
    assert "cam-1" in look(state, -HOUR_S + LIMIT_S + 1, since_s=-HOUR_S).silent


def test_a_replicas_clock_that_is_ahead_keeps_no_dead_camera_alive() -> None:
    line = Line()
    line.see(score(0, Verdict.OK, scored_at=NOON + HOUR_S * S))
    assert look(line.state, LIMIT_S).alive
    assert "cam-1" in look(line.state, LIMIT_S + 2).silent


def seen_late(line: Line, first_s: int, last_s: int, *, by_s: float, every_s: int = 1) -> None:
    """Frames that are scored and read at once, `by_s` after their capture as the camera's clock has it."""
    for n, at_s in enumerate(range(first_s, last_s + 1, every_s)):
        taken = NOON + (at_s - by_s) * S
        frame = score(1000 * first_s + n, Verdict.OK, captured_at=taken, scored_at=NOON + at_s * S)
        line.see(frame, age_s=at_s)


def test_frames_that_come_too_late_to_stop_the_line_prove_no_life() -> None:
    line = Line()
    line.see(score(0, Verdict.OK))
    seen_late(line, 2, 20, by_s=12)
    assert look(line.state, 20).alive  # a hiccup
    seen_late(line, 21, 40, by_s=12)
    assert not look(line.state, 40).alive
    state, (raised,) = tick(line.state, 40)
    assert "no frame known within 10 s of its capture for 30 s; the last was scored 12 s after" in raised.reason
    line.state = state
    seen_late(line, 41, 42, by_s=1)
    _, (cleared,) = tick(line.state, 42)
    assert (cleared.act, look(line.state, 42).alive) == (Act.CLEAR, True)


def test_a_backlog_that_is_worked_off_brings_no_camera_back() -> None:
    state, _ = tick(scored("cam-1"), HOUR_S)
    line = Line(state=state)
    seen_late(line, HOUR_S, HOUR_S + 60, by_s=100)
    for at_s in (HOUR_S + 1, HOUR_S + 60):
        assert tick(line.state, at_s) == (line.state, [])
        assert not look(line.state, at_s).alive


def test_a_camera_whose_clock_is_behind_is_told_before_it_sees_a_defect() -> None:
    line = Line()
    seen_late(line, 0, 60, by_s=30)
    told = Pulse(beat(sent_s=60 - 30, captured=99), NOON, read_at=NOON + 60 * S)
    why = look(line.state, 60, pulses={"cam-1": told}).silent["cam-1"]
    assert "its heartbeats are 30 s old as they come: compare its box's clock with this worker's (NTP)" in why


def test_a_clock_is_blamed_only_where_heartbeats_still_come() -> None:
    line = Line()
    seen_late(line, 0, 60, by_s=30)
    dead = Pulse(beat(sent_s=30, captured=99), NOON, read_at=NOON + 31 * S)
    assert (
        "the last was scored 30 s after: look at the replicas"
        in look(line.state, 60, pulses={"cam-1": dead}).silent["cam-1"]
    )
    without_parts = Pulse(beat(sent_s=HOUR_S - 30, captured=99), NOON, read_at=NOON + HOUR_S * S)
    why = look(line.state, HOUR_S, pulses={"cam-1": without_parts}).silent["cam-1"]
    assert "no heartbeat" not in why
    assert "its heartbeats are 30 s old as they come: compare its box's clock" in why


def test_a_clock_that_is_days_off_takes_no_camera_away() -> None:
    """None was missed by a worker, or behind a broker, whose clock was more than a day ahead; and what else its frames
    raised was over at once, and raised anew with the next few."""
    days_ahead = NOON + 240 * HOUR_S * S
    told = {"cam-1": Pulse(beat(sent_s=60, captured=99), NOON, read_at=days_ahead)}
    watch = silence.look(scored("cam-1"), told, POLICY, days_ahead, NOON)
    assert "its heartbeats are 863940 s old as they come" in watch.silent["cam-1"]
    assert not watch.gone
    while_kafka_is_away = silence.look(scored("cam-1"), told, POLICY, days_ahead + HOUR_S * S, NOON)
    assert (while_kafka_is_away.silent.keys(), while_kafka_is_away.gone) == ({"cam-1"}, {})
    a_day_later = silence.look(scored("cam-1"), told, POLICY, days_ahead + FORGOTTEN_AFTER + S, NOON)
    assert a_day_later.gone.keys() == {"cam-1"}


def test_nor_does_a_takeover_before_a_heartbeat_was_read() -> None:
    """Its drift was over with every takeover, and raised anew. But one that was taken away holds no line up."""
    began_s = 240 * HOUR_S
    at_hand = {"cam-1": Pulse(beat(sent_s=60, captured=99), NOON)}
    watch = look(scored("cam-1"), began_s, since_s=began_s, pulses=at_hand)
    assert watch == Watch(watched=0, silent={}, unproved=frozenset(), well={}, gone={})
    assert look(scored("cam-1"), began_s + 6, since_s=began_s, pulses=at_hand).gone.keys() == {"cam-1"}


def test_a_triggered_camera_whose_parts_come_late_is_told_and_its_line_may_run_for_the_next_one() -> None:
    triggered = POLICY.model_copy(update={"triggered": True})
    line = Line(policy=triggered)
    line.see(score(0, Verdict.OK))

    def watch(at_s: float, captured: int) -> Watch:
        pulses = {"cam-1": Pulse(beat(sent_s=at_s, captured=captured), NOON)}
        return silence.look(line.state, pulses, triggered, NOON + at_s * S, NOON)

    seen_late(line, 300, 300, by_s=12)
    assert watch(301, captured=1).alive  # the first late part after a pause proves nothing against it
    seen_late(line, 320, 340, by_s=12, every_s=20)
    late = watch(341, captured=1)
    assert late.silent.keys() == {"cam-1"}
    line.state, (raised,) = silence.tick(line.state, late, triggered, NOON + 341 * S)
    assert watch(400, captured=1).alive
    assert silence.tick(line.state, watch(400, captured=1), triggered, NOON + 400 * S) == (line.state, ())
    seen_late(line, 420, 420, by_s=1)
    _, (cleared,) = silence.tick(line.state, watch(421, captured=1), triggered, NOON + 421 * S)
    assert [getattr(event, "act", None) for event in (raised, cleared)] == [Act.RAISE, Act.CLEAR]


def test_one_dead_camera_is_enough_to_prove_no_life() -> None:
    line = Line()
    line.see(score(0, Verdict.OK, camera="cam-1"))
    line.see(score(0, Verdict.OK, camera="cam-2", captured_at=NOON + HOUR_S * S), age_s=HOUR_S)
    watch = look(taken_over(line.state), HOUR_S + 1, since_s=HOUR_S)
    assert (watch.watched, watch.unproved, watch.alive) == (2, {"cam-1"}, False)


def test_a_takeover_leaves_the_alarm_of_a_silent_camera_as_it_is() -> None:
    state, _ = tick(scored("cam-1"), HOUR_S)
    for act in (None, Act.ACKNOWLEDGE):
        line = Line(state=taken_over(state))
        if act:
            line.see(operation(act), age_s=HOUR_S)
        assert tick(line.state, HOUR_S + 1, since_s=HOUR_S) == (line.state, [])
        assert AlarmKind.CAMERA_SILENT in line.standing
        assert look(line.state, HOUR_S + 1, since_s=HOUR_S).silent.keys() == {"cam-1"}


def test_an_alarm_of_a_camera_that_was_never_scored_outlasts_a_takeover_without_heartbeats() -> None:
    pulses = {"cam-1": Pulse(beat(sent_s=60, captured=9), NOON)}
    state, (raised,) = tick(LineState(line_id="line-1"), 60, pulses=pulses)
    assert raised.kind is AlarmKind.CAMERA_SILENT
    state = taken_over(state)
    assert tick(state, 61, since_s=61) == (state, [])


def test_a_takeover_delays_the_alarm() -> None:
    state = taken_over(scored("cam-1"))
    assert tick(state, HOUR_S + LIMIT_S, since_s=HOUR_S) == (state, [])
    _, (raised,) = tick(state, HOUR_S + LIMIT_S + 1, since_s=HOUR_S)
    assert (raised.kind, raised.act) == (AlarmKind.CAMERA_SILENT, Act.RAISE)


def test_a_restart_on_a_healthy_line_is_proved_by_what_is_stored() -> None:
    state = taken_over(scored("cam-1", "cam-2"))
    assert look(state, 8, since_s=8).alive


@given(
    ages_s=st.lists(st.integers(0, 100), min_size=1, max_size=4),
    beats=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 10), st.integers(0, 2), st.sampled_from(BootEnd))),
    since_s=st.tuples(st.integers(0, 100), st.integers(0, 100)),
)
def test_when_a_worker_began_to_watch_changes_nothing_about_life(
    ages_s: list[int], beats: list[tuple[int, int, int, BootEnd]], since_s: tuple[int, int]
) -> None:
    line = Line()
    for number, age_s in enumerate(ages_s):
        line.see(score(0, Verdict.OK, camera=f"cam-{number}", captured_at=NOON - age_s * S))
    pulses = {
        f"cam-{number}": Pulse(beat(f"cam-{number}", sent_s=-age_s, captured=captured, end=end), NOON - 100 * S)
        for number, age_s, captured, end in beats
    }
    early, late = (look(line.state, 0, since_s=-began_s, pulses=pulses) for began_s in sorted(since_s, reverse=True))
    assert early.alive == late.alive
    assert late.silent.keys() <= early.silent.keys()
    if not pulses:
        assert early.alive == all(age_s <= LIMIT_S for age_s in ages_s)


def test_a_camera_that_may_be_silent_needs_no_score_after_a_takeover() -> None:
    line = Line().burst()
    pulses = {"cam-1": Pulse(beat(sent_s=HOUR_S, captured=3), NOON)}
    assert look(taken_over(line.state), HOUR_S + 1, since_s=HOUR_S, pulses=pulses).alive


@pytest.mark.parametrize(("end", "alive"), [(BootEnd.CLEAN, True), (BootEnd.RUNNING, False)])
def test_a_camera_that_moved_to_another_line_is_missed_only_where_it_did_not_end_in_good_order(
    end: BootEnd, alive: bool
) -> None:
    state = scored("cam-1")
    state = state.model_copy(update={"cameras": {**state.cameras, **scored("cam-2", at_s=HOUR_S).cameras}})
    pulse = silence.hear(None, beat(sent_s=1, end=end))
    elsewhere = heartbeat(HOUR_S, boot="20261122T125900", captured=50).model_copy(update={"line_id": "line-2"})
    watch = look(state, HOUR_S + 1, pulses={"cam-1": silence.hear(pulse, elsewhere)})
    assert watch.alive is alive


def test_a_camera_that_just_began_and_was_never_scored_proves_no_life() -> None:
    pulses = {"cam-1": Pulse(beat(sent_s=HOUR_S), NOON + (HOUR_S - 1) * S)}
    watch = look(LineState(line_id="line-1"), HOUR_S, pulses=pulses)
    assert (watch.watched, watch.silent, watch.unproved, watch.alive) == (1, {}, {"cam-1"}, False)


@pytest.mark.parametrize(
    ("at_s", "pulse", "rescored", "why"),
    [
        (61, None, True, "its frames are scored in time again"),
        (61, beat(sent_s=60, end=BootEnd.CLEAN), False, "it ended in good order"),
        (25 * HOUR_S, None, False, "nothing was heard of it for a day"),
    ],
)
def test_an_alarm_that_is_cleared_says_what_ended_it(
    at_s: int, pulse: Heartbeat | None, rescored: bool, why: str
) -> None:
    state, _ = tick(scored("cam-1"), 60)
    line = Line(state=state)
    if rescored:
        line.see(score(1, Verdict.OK, captured_at=NOON + at_s * S), age_s=at_s)
    _, (cleared,) = tick(line.state, at_s, pulses={"cam-1": Pulse(pulse, NOON)} if pulse else {})
    assert (cleared.act, cleared.state) == (Act.CLEAR, AlarmState.UNACK_RTN)
    assert why in cleared.reason


def test_silence_that_became_all_right_ends_its_alarm_and_says_so() -> None:
    line = Line().burst()
    state, _ = tick(line.state, 60)
    _, (cleared,) = tick(state, 61, pulses={"cam-1": Pulse(beat(sent_s=61, captured=3), NOON)})
    assert (cleared.act, cleared.reason) == (Act.CLEAR, "its worker runs, and its silence is all right")


def heard(boots: str, last_s: float = 0) -> Pulse:
    """A heartbeat a second, each of the boot that the letter names; a capital tells of its end."""
    pulse: Pulse | None = None
    for ago, boot in zip(range(len(boots) - 1, -1, -1), boots, strict=True):
        end = BootEnd.CLEAN if boot.isupper() else BootEnd.RUNNING
        told = heartbeat(last_s - ago, boot=f"20261122T11000{ord(boot.lower()) % 10}", end=end)
        pulse = silence.hear(pulse, told)
    assert pulse
    return pulse


@pytest.mark.parametrize("boots", ["abab", "aabbaabb", "aaaabababab"])
def test_two_workers_of_one_name_are_told_of_and_prove_no_life(boots: str) -> None:
    """Between the good parts of the one, 4 of 5 bad ones of the other never filled a window: no alarm, no stop."""
    state, (raised,) = tick(scored("cam-1"), 1, pulses={"cam-1": heard(boots)})
    assert (raised.kind, "two workers send under this name" in raised.reason) == (AlarmKind.CAMERA_SILENT, True)
    assert not look(state, 1, pulses={"cam-1": heard(boots)}).alive
    state, (cleared,) = tick(state, 2, pulses={"cam-1": heard(boots + "b" * silence.RECENT_BEATS)})
    assert cleared.act is Act.CLEAR


@pytest.mark.parametrize("boots", ["aaaa", "aabb", "abcdefgh", "aabaccc"])
def test_a_worker_that_begins_anew_is_one_worker(boots: str) -> None:
    """However often; nor is the last heartbeat of its predecessor, where it comes late."""
    assert look(scored("cam-1"), 1, pulses={"cam-1": heard(boots)}).alive


@pytest.mark.parametrize("boots", ["ababAb", "ababABc"])
def test_workers_of_one_name_that_have_ended_are_none_beside_the_one_that_runs(boots: str) -> None:
    """Who had ended both, as the alarm asks, and begun one again was told the same once more, and the line missed."""
    assert look(scored("cam-1"), 1, pulses={"cam-1": heard(boots)}).alive


def pulse_of(*beats: Heartbeat) -> Mapping[str, Pulse]:
    pulse = None
    for each in beats:
        pulse = silence.hear(pulse, each)
    assert pulse
    return {pulse.beat.camera_id: pulse}


def drifting(line: Line) -> LineState:
    drift = effects.condition(line.state, AlarmKind.DRIFT, "cam-1", "it drifts", NOON)
    return register.add(line.state, drift, ("cam-1",))[0]


ENDED = heartbeat(5, captured=3, end=BootEnd.CLEAN)


@pytest.mark.parametrize(
    ("pulses", "why"),
    [
        (pulse_of(ENDED), "it ended in good order"),
        (
            pulse_of(ENDED, heartbeat(6, boot="next").model_copy(update={"line_id": "line-2"})),
            "it ended in good order, and is line line-2's by now",
        ),
    ],
    ids=["taken away", "moved to another line"],
)
def test_what_stood_of_a_camera_that_is_gone_ends(pulses: Mapping[str, Pulse], why: str) -> None:
    line = Line()
    for sequence in range(3):
        line.see(score(sequence, Verdict.NOT_DECIDABLE))
    state = drifting(line)
    assert [entry.alarm.kind for entry in state.alarms] == [AlarmKind.NOT_INSPECTED, AlarmKind.DRIFT]
    state, none = tick(state, LIMIT_S, pulses=pulses)
    assert none == []  # a worker that is only started anew ends nothing
    state, ended = tick(state, LIMIT_S + 2, pulses=pulses)
    assert [(alarm.kind, alarm.act, alarm.reason) for alarm in ended] == [
        (AlarmKind.NOT_INSPECTED, Act.CLEAR, why),
        (AlarmKind.DRIFT, Act.CLEAR, why),
    ]
    assert tick(state, LIMIT_S + 3, pulses=pulses) == (state, [])


COMMON = AlarmKind.COMMON_CAUSE


def agreeing(*cameras: str, good_from_s: int = 4, until_s: int = 4, more: str = "") -> Line:
    """Of a line whose cameras are dark, and whose `more` see well; then they see well, too, and then nothing comes."""
    line = Line()
    for n in range(until_s):
        for camera in (*more, *cameras):
            dark = camera not in more and n < good_from_s
            verdict = Verdict.NOT_DECIDABLE if dark else Verdict.OK
            line.see(score(n, verdict, camera=camera, captured_at=NOON + n * S), age_s=n + 1)
    return line


@pytest.mark.parametrize("good_for_s", [0, 4])
def test_cameras_that_died_amid_a_common_cause_are_shown_as_silent(good_for_s: int) -> None:
    """No score came that would end it, and it hid for ever that they were silent; those that are idle send none."""
    line = agreeing("a", "b", "c", until_s=4 + good_for_s, more="def")
    idle = {name: Pulse(beat(name, sent_s=HOUR_S, captured=4 + good_for_s), NOON) for name in "def"}
    triggered = POLICY.model_copy(update={"triggered": True})
    state = line.state
    told: list[Alarm] = []
    for at_s in (35, 60, 119, 125, 129, 130, HOUR_S):
        now = NOON + at_s * S
        pulses = {name: Pulse(one.beat.model_copy(update={"sent_at": now}), NOON) for name, one in idle.items()}
        watch = silence.look(state, pulses, triggered, now, NOON)
        state, events = silence.tick(state, watch, triggered, now)
        told += [event for event in events if isinstance(event, Alarm)]
    over = [(alarm.act, alarm.changed_at) for alarm in told if alarm.kind is COMMON]
    assert over == [(Act.CLEAR, NOON + (125 + good_for_s) * S)]  # sooner, a late score might raise it again
    silent = [entry.alarm for entry in state.alarms if entry.alarm.kind is AlarmKind.CAMERA_SILENT]
    assert {(alarm.camera_id, alarm.state) for alarm in silent} == {(name, AlarmState.UNACK_ACTIVE) for name in "abc"}


def test_a_common_cause_stands_while_enough_of_its_cameras_are_idle_or_have_yet_to_be_missed() -> None:
    state = agreeing("a", "b", "c", "d").state
    assert tick(taken_over(state), HOUR_S, since_s=HOUR_S - 1)[1] == []  # a worker that has only just begun
    now = NOON + HOUR_S * S
    triggered = POLICY.model_copy(update={"triggered": True})
    pulses = {name: Pulse(beat(name, sent_s=HOUR_S, captured=4), NOON) for name in "abc"}
    state, events = silence.tick(state, silence.look(state, pulses, triggered, now, NOON), triggered, now)
    assert {alarm.kind for alarm in events if isinstance(alarm, Alarm)} == {AlarmKind.CAMERA_SILENT}
    del pulses["a"]
    state, _ = silence.tick(state, silence.look(state, pulses, triggered, now, NOON), triggered, now)
    entry = state.standing(COMMON)
    assert entry
    assert not entry.life.active


def test_a_common_cause_is_of_the_cameras_that_agreed_last() -> None:
    line = agreeing("a", "b", "c")
    for n in range(4):
        for camera in "def":
            dark_at = NOON + (200 + n) * S
            line.see(score(n, Verdict.NOT_DECIDABLE, camera=camera, captured_at=dark_at), age_s=201 + n)
    state, _ = tick(line.state, 205)
    entry = state.standing(COMMON)
    assert entry
    assert (entry.life.active, entry.cameras) == (True, ("d", "e", "f"))


def test_a_camera_that_died_keeps_what_stood_of_it_and_so_does_a_line_with_another_blind_one() -> None:
    line = Line()
    for sequence in range(3):
        line.see(score(sequence, Verdict.NOT_DECIDABLE))
        line.see(score(sequence, Verdict.NOT_DECIDABLE, camera="cam-2"))
    died = pulse_of(heartbeat(5, captured=3, end=BootEnd.DIED))
    assert {alarm.kind for alarm in tick(drifting(line), HOUR_S, pulses=died)[1]} == {AlarmKind.CAMERA_SILENT}
    state, events = tick(drifting(line), HOUR_S, pulses=pulse_of(ENDED))
    assert [(alarm.kind, alarm.act) for alarm in events] == [
        (AlarmKind.CAMERA_SILENT, Act.RAISE),
        (AlarmKind.DRIFT, Act.CLEAR),
    ]
    assert state.standing(AlarmKind.NOT_INSPECTED)


@pytest.mark.parametrize("behind_s", [20, HOUR_S])
def test_a_replicas_clock_that_is_behind_is_blamed_and_neither_the_camera_nor_the_lag(behind_s: int) -> None:
    line = Line()
    for at_s in range(60):
        taken = NOON + at_s * S
        line.see(score(at_s, Verdict.OK, captured_at=taken, scored_at=taken - behind_s * S), age_s=at_s)
    _, (raised,) = tick(line.state, 60, pulses=pulse_of(beat(sent_s=0), beat(sent_s=59, captured=60)))
    assert f"by the replicas' clock, frames are scored {behind_s} s before they were taken" in raised.reason


def test_a_camera_that_moved_without_a_good_end_is_told_with_its_new_line_and_with_the_way_out() -> None:
    later_s = HOUR_S + LIMIT_S + 2
    moved = [heartbeat(at_s, boot="next").model_copy(update={"line_id": "line-2"}) for at_s in (HOUR_S, later_s)]
    _, (raised,) = tick(scored("cam-1"), later_s, pulses=pulse_of(beat(sent_s=1), *moved))
    assert "its heartbeats name line-2 now" in raised.reason
    assert "start it here once more" in raised.reason


@pytest.mark.parametrize(
    "changes",
    [
        {"alarms": Line().burst().state.alarms},
        {"episode": Episode(episode_id="e")},
        {"stands_at": "modbus://plc"},
        {"named": "modbus://plc"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_line_with_anything_that_stands_or_with_a_plc_never_rests(changes: dict[str, Any]) -> None:
    day_s = FORGOTTEN_AFTER.total_seconds() + 1
    state, now = scored("cam-1"), NOON + timedelta(seconds=day_s)
    assert silence.rests(state, look(state, day_s), {}, now)
    state = state.model_copy(update=changes)
    assert not silence.rests(state, look(state, day_s), {}, now)


def test_a_line_whose_camera_was_heard_within_the_day_does_not_rest() -> None:
    day_s = FORGOTTEN_AFTER.total_seconds() + 1
    state, now = scored("cam-1"), NOON + timedelta(seconds=day_s)
    assert not silence.rests(state, look(state, 3600), {}, NOON + timedelta(hours=1))
    ended = {"cam-1": hear(None, beat(sent_s=day_s - 60, end=BootEnd.CLEAN))}
    assert not silence.rests(state, look(state, day_s, pulses=ended), ended, now)
