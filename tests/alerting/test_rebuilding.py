"""A line out of what was published of it, where nothing that was stored can be read any more."""

from datetime import timedelta

import pytest
from alerting.factory import NOON, POLICY, Line, operation, score

from pipeline.events import Act, Action, CommandReply, Outcome, Verdict
from workers.alerting.core import outbox
from workers.alerting.core.reports import Answer, apply
from workers.alerting.core.state import LineState
from workers.alerting.policy import NotDecidableLimit, Response
from workers.alerting.upkeep.rebuilding import Published, rebuilt

pytestmark = pytest.mark.unit


def published(line: Line) -> Published:
    """All that was decided for it, in order."""
    posted = outbox.post(LineState(line_id="line-1"), line.effects, 0, 0)
    sent = posted.outbox
    return Published(sent.alarms, sent.commands, sent.replies, sent.audit)


def answer(line: Line, outcome: Outcome) -> None:
    command = line.commands[-1]
    told = Answer("line-1", line.state.epoch, command.command_id, outcome, "plc", "v", 1, NOON + timedelta(seconds=2))
    line.state, events = apply(line.state, told, NOON + timedelta(seconds=2), (), "plc")
    line.effects += events


def test_a_stop_that_its_line_has_confirmed_stands_with_its_alarm() -> None:
    line = Line().burst()
    answer(line, Outcome.ACCEPTED)
    found = rebuilt("line-1", published(line))
    kept = "level", "last_command", "proved", "stands_at"
    assert {name: getattr(found, name) for name in kept} == {name: getattr(line.state, name) for name in kept}
    assert [entry.alarm for entry in found.alarms] == [entry.alarm for entry in line.state.alarms]
    assert not rebuilt("other", Published((), (), (), ())).alarms


def test_a_line_that_was_reset_is_asked_for_nothing() -> None:
    line = Line().burst()
    line.see(operation(Act.ACKNOWLEDGE))
    line.see(operation(Act.RESET))
    found = rebuilt("line-1", published(line))
    assert (found.alarms, found.episode, found.last_command) == ((), None, None)


def test_a_stop_stands_whose_alarm_came_to_latch_after_it_was_raised() -> None:
    """Its alarm has another episode's id than the command, and the stop was forgotten."""
    line = Line()
    for sequence in range(3):
        line.see(score(sequence, Verdict.NOT_DECIDABLE))
    assert [entry.alarm.latching for entry in line.state.alarms] == [False]
    holds = NotDecidableLimit(limit=3, of_last=4, action=Response.HOLD)
    line.policy = POLICY.model_copy(update={"not_decidable": holds})
    line.see(score(3, Verdict.NOT_DECIDABLE))
    (command,) = line.commands
    found = rebuilt("line-1", published(line))
    assert (found.level, found.last_command) == (Action.HOLD, command)


def test_a_shelved_alarm_stays_shelved() -> None:
    line = Line().burst()
    line.see(operation(Act.SHELVE))
    (entry,) = rebuilt("line-1", published(line)).alarms
    assert entry.life == line.state.alarms[0].life


def test_a_stop_that_was_given_up_is_asked_for_again_under_another_id() -> None:
    """Who has seen the first would take the second for a repeat of it."""
    line = Line().burst()
    answer(line, Outcome.EXPIRED)
    assert isinstance(line.effects[-2], CommandReply)
    line.state = rebuilt("line-1", published(line)).model_copy(update={"epoch": 2})
    assert line.state.level is None
    line.burst(10)
    first, second = line.commands
    assert (first.action, second.action) == (Action.HOLD, Action.HOLD)
    assert first.command_id != second.command_id
    assert first.episode_id == second.episode_id


def test_no_alarm_and_no_entry_of_the_audit_log_takes_a_number_again() -> None:
    line = Line().burst()
    answer(line, Outcome.REJECTED)
    told = published(line)
    found = rebuilt("line-1", told)
    assert found.raised >= line.state.raised
    assert found.audited == told.audit[-1].number
