"""What was decided goes out, once, and never when it is too late."""

from datetime import timedelta

import pytest
from alerting.factory import NOON, POLICY, Line, operation, score

from pipeline.events import Act, Action, AlarmKind
from workers.alerting.core.outbox import NOTHING, Published, post, settle
from workers.alerting.core.state import LineState, NewerStateError, StateError
from workers.alerting.policy import Response

pytestmark = pytest.mark.unit

IN_TIME = NOON + timedelta(seconds=5)
TOO_LATE = NOON + timedelta(seconds=11)


def stored(line: Line) -> LineState:
    """Through JSON, as a successor finds it."""
    state = post(line.state, tuple(line.effects), alarms_from=7, commands_from=9)
    return LineState.from_json(state.to_json(), "line-state[0]@1")


def test_what_did_not_get_out_is_still_to_be_sent() -> None:
    state = settle(stored(Line().burst()), NOTHING, IN_TIME)
    assert [alarm.act for alarm in state.outbox.alarms] == [Act.RAISE]
    assert [command.action for command in state.outbox.commands] == [Action.HOLD]


def test_an_alarm_without_a_stop_is_owed_too() -> None:
    line = Line(POLICY.model_copy(update={"action": Response.ALARM_ONLY})).burst()
    assert stored(line).outbox.owes


def test_what_got_out_is_not_sent_again() -> None:
    line = Line().burst()
    alarm, command = line.alarms[0], line.commands[0]
    out = Published(frozenset({(alarm.alarm_id, 1)}), frozenset({command.command_id}))
    assert not settle(stored(line), out, IN_TIME).outbox.owes


def test_a_hold_that_expired_on_the_way_becomes_a_note() -> None:
    line = Line().burst()
    state = settle(stored(line), NOTHING, TOO_LATE)
    assert state.outbox.commands == ()
    assert [alarm.act for alarm in state.outbox.alarms] == [Act.RAISE, Act.NOTE]
    assert "not stopped" in state.outbox.alarms[-1].reason
    assert state.alarms[0].alarm == state.outbox.alarms[-1]


def test_a_hold_that_the_line_has_confirmed_is_sent_however_late() -> None:
    line = Line().burst()
    line.state = line.state.model_copy(update={"proved": True})
    state = settle(stored(line), NOTHING, TOO_LATE)
    assert [command.action for command in state.outbox.commands] == [Action.HOLD]
    assert state.level is Action.HOLD


def test_a_timely_burst_after_an_expired_hold_still_stops_the_line() -> None:
    line = Line().burst()
    line.state = settle(stored(line), NOTHING, TOO_LATE)
    line.effects.clear()
    line.see(score(10))
    assert line.actions == [Action.HOLD]


def test_a_hold_that_got_out_in_time_stays_sent_when_the_successor_comes_late() -> None:
    line = Line().burst()
    out = Published(commands=frozenset({line.commands[0].command_id}))
    state = settle(stored(line), out, TOO_LATE)
    assert state.episode is not None
    assert state.episode.command is not None
    assert [alarm.act for alarm in state.outbox.alarms] == [Act.RAISE]


def test_a_permission_does_not_expire_on_the_way() -> None:
    line = Line().burst()
    for act in (Act.ACKNOWLEDGE, Act.RESET):
        line.see(operation(act))
    state = settle(stored(line), Published(commands=frozenset({line.commands[0].command_id})), TOO_LATE)
    assert [command.action for command in state.outbox.commands] == [Action.UNHOLD_PERMITTED]


def test_settling_twice_changes_nothing_more() -> None:
    once = settle(stored(Line().burst()), NOTHING, TOO_LATE)
    assert settle(once, NOTHING, TOO_LATE) == once


def test_a_state_that_cannot_be_read_is_an_error_that_names_its_place() -> None:
    newer = Line().burst().state.to_json().replace(b'"schema_version":2', b'"schema_version":3', 1)
    with pytest.raises(StateError, match=r"line-state\[0\]@3.*newer Andon"):
        LineState.from_json(newer, "line-state[0]@3")


@pytest.mark.parametrize(
    ("known", "word"), [('"kind":"defects"', '"kind":"door_open"'), ('"action":"HOLD"', '"action":"CREEP"')]
)
def test_a_state_with_a_word_of_a_newer_andon_is_not_called_damaged(known: str, word: str) -> None:
    """After a rollback the advice was to put back an older state over it, latched alarms and stop forgotten."""
    newer = Line().burst().state.to_json().replace(known.encode(), word.encode())
    with pytest.raises(NewerStateError, match="newer Andon"):
        LineState.from_json(newer, "line-state[0]@3")


def test_every_change_is_in_the_audit_log_with_a_number_who_and_why() -> None:
    line = Line().burst()
    line.see(operation(Act.RESET, actor="ben"))
    line.see(operation(Act.ACKNOWLEDGE, actor="ada", reason="on my way"))
    entries = stored(line).outbox.audit
    assert [entry.number for entry in entries] == list(range(1, len(entries) + 1))
    assert [(entry.actor, entry.act, entry.subject) for entry in entries] == [
        ("andon", "raise", "alarm defects"),
        ("andon", "HOLD", "line"),
        ("ben", "note", "alarm defects"),
        ("ben", "refuse", "reset"),
        ("ada", "acknowledge", "alarm defects"),
    ]
    assert entries[-1].reason == "on my way"


def test_the_stored_state_of_a_busy_line_fits_into_a_record() -> None:
    line = Line()
    for camera in range(16):
        for sequence in range(20):
            line.see(score(sequence, camera=f"camera-with-a-longish-name-{camera}"))
    assert len(stored(line).to_json()) < 200_000
    assert AlarmKind.DEFECTS in line.standing
