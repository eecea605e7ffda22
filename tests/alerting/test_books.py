"""A line's whole life in any order: scores, people, a PLC that answers as it likes, takeovers, Kafka that takes events
late. Whatever happens, its books agree."""

from collections.abc import Callable, Sequence
from datetime import timedelta

import pytest
from alerting.factory import NOON, POLICY, operation, score
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pipeline.events import (
    Act,
    Action,
    Alarm,
    AuditEntry,
    CommandReply,
    LineCommand,
    Operation,
    Outcome,
    Score,
    Verdict,
)
from workers.alerting.core import outbox, register, reports, stops
from workers.alerting.core.effects import Effect, Takeover
from workers.alerting.core.line import step
from workers.alerting.core.reports import Answer
from workers.alerting.core.state import LineState
from workers.alerting.policy import StopBudget
from workers.alerting.upkeep.rebuilding import Published, rebuilt

pytestmark = pytest.mark.unit

BUDGET = 3
POLICY_WITH_BUDGET = POLICY.model_copy(update={"stop_budget": StopBudget(stops=BUDGET), "off_delay_s": 2.0})
waits = st.sampled_from([0.0, 0.1, 1.0, 5.0, 20.0])


class Books(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.state = LineState(line_id="line-1", epoch=1)
        self.now = NOON
        self.sequence = 0
        self.offsets: dict[type, int] = {Score: 0, Operation: 0}
        self.published: set[object] = set()
        self.commands: dict[object, LineCommand] = {}
        """What `line-commands` holds."""
        self.replied: list[object] = []
        self.alarms: list[Alarm] = []
        self.replies: list[CommandReply] = []
        self.audit: dict[int, AuditEntry] = {}

    def _wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def _store_and_publish(self, effects: Sequence[Effect], late_s: float, heard: Outcome | None = None) -> None:
        """heard: of the PLC, while Kafka was waited for."""
        self.state = outbox.post(self.state, effects, 0, 0)
        self._wait(late_s)
        more = self._hear(heard)
        self.state = outbox.add(self.state, more)
        self._publish()

    def _publish(self) -> None:
        known = outbox.Published(
            frozenset(key for key in self.published if isinstance(key, tuple)), frozenset(self.commands)
        )
        self.state = outbox.settle(self.state, known, self.now)
        waiting = self.state.outbox
        self.commands |= {command.command_id: command for command in waiting.commands}
        self.published |= {(alarm.alarm_id, alarm.revision) for alarm in waiting.alarms}
        self.replied += [reply.command_id for reply in waiting.replies]
        self.alarms += waiting.alarms
        self.replies += waiting.replies
        for entry in waiting.audit:
            assert self.audit.setdefault(entry.number, entry) == entry

    def _take(self, event: Score | Operation) -> Sequence[Effect]:
        stepped = step(self.state, event, self.offsets[type(event)], 0, POLICY_WITH_BUDGET, self.now)
        self.offsets[type(event)] += 1
        self.state = stepped.state
        return stepped.effects

    @rule(
        verdicts=st.lists(st.sampled_from([*Verdict, Verdict.NOT_OK]), min_size=1, max_size=4),
        camera=st.sampled_from(["cam-1", "cam-2"]),
        age_s=st.sampled_from([0.0, 0.0, 1.0, 30.0]),
        wait_s=waits,
        late_s=waits,
        heard=st.sampled_from([None, None, None, *Outcome]),
    )
    def frames_are_scored(
        self, verdicts: list[Verdict], camera: str, age_s: float, wait_s: float, late_s: float, heard: Outcome | None
    ) -> None:
        self._wait(wait_s)
        effects: list[Effect] = []
        for verdict in verdicts:
            captured_at = self.now - timedelta(seconds=age_s)
            effects += self._take(score(self.sequence, verdict, camera=camera, captured_at=captured_at))
            self.sequence += 1
        self._store_and_publish(effects, late_s, heard)

    @rule(
        act=st.sampled_from([Act.ACKNOWLEDGE, Act.RESET, Act.RESET, Act.SHELVE, Act.UNSHELVE]),
        asked_s=st.sampled_from([0.0, 0.0, 3.0, 400.0]),
        wait_s=waits,
    )
    def a_person_acts(self, act: Act, asked_s: float, wait_s: float) -> None:
        self._wait(wait_s)
        asked_at = self.now - timedelta(seconds=asked_s)
        self._store_and_publish(self._take(operation(act, asked_at=asked_at)), 0)  # type: ignore[arg-type]

    @precondition(lambda self: self._asked() is not None)
    @rule(outcome=st.sampled_from(Outcome), wait_s=waits, late_s=waits)
    def the_plc_answers(self, outcome: Outcome, wait_s: float, late_s: float) -> None:
        self._wait(wait_s)
        self._store_and_publish(self._hear(outcome), late_s)

    def _hear(self, outcome: Outcome | None) -> Sequence[Effect]:
        command = self._asked()
        if command is None or outcome is None:
            return ()
        if outcome is Outcome.EXPIRED and (self.state.proved or command.action is Action.UNHOLD_PERMITTED):
            return ()  # a driver gives up no stop that was read back, and no permission
        answer = Answer("line-1", self.state.epoch, command.command_id, outcome, "plc", "v", 1, self.now)
        self.state, effects = reports.apply(self.state, answer, self.now)
        return effects

    def _asked(self) -> LineCommand | None:
        return self.state.last_command or (self.state.episode and self.state.episode.void)

    @rule(wait_s=waits)
    def another_worker_takes_over(self, wait_s: float) -> None:
        """It finds what was stored, and publishes what its predecessor may not have."""
        self._wait(wait_s)
        state = LineState.from_json(self.state.to_json(), "line-state")
        state = state.model_copy(update={"epoch": state.epoch + 1})
        self.state = outbox.add(state, [Takeover("line-1", state.epoch, self.now)])
        self._publish()

    @rule(wait_s=waits)
    def time_passes(self, wait_s: float) -> None:
        self._wait(wait_s)
        ticks: tuple[Callable[[LineState], tuple[LineState, Sequence[Effect]]], ...] = (
            lambda state: register.tick(state, self.now),
            lambda state: stops.tick(state, POLICY_WITH_BUDGET, self.now),
        )
        effects: list[Effect] = []
        for tick in ticks:
            self.state, more = tick(self.state)
            effects += more
        self._store_and_publish(effects, 0)

    @invariant()
    def what_is_stored_is_what_is_known(self) -> None:
        assert LineState.from_json(self.state.to_json(), "line-state") == self.state

    @invariant()
    def a_stop_that_stands_has_an_alarm_that_stands(self) -> None:
        if self.state.episode and self.state.episode.command:
            assert self.state.latched
        if self.state.level:
            assert self.state.episode
            assert self.state.last_command == self.state.episode.command

    @invariant()
    def what_was_published_tells_what_stands(self) -> None:
        """Once nothing that is stored can be read any more."""
        audit = [self.audit[number] for number in sorted(self.audit)]
        told = Published(self.alarms, list(self.commands.values()), self.replies, audit)
        found = rebuilt("line-1", told)
        assert {entry.alarm for entry in found.alarms} == {entry.alarm for entry in self.state.alarms}
        if self.state.proved and self.state.level:
            assert (found.level, found.proved) == (self.state.level, True)

    @invariant()
    def what_was_proved_was_asked_for(self) -> None:
        assert self.state.last_command or not self.state.proved

    @invariant()
    def every_reply_is_of_a_command_that_was_told(self) -> None:
        assert set(self.replied) <= self.commands.keys()

    @invariant()
    def the_audit_log_has_no_gap(self) -> None:
        assert sorted(self.audit) == list(range(1, len(self.audit) + 1))

    @invariant()
    def the_budget_holds(self) -> None:
        assert len(self.state.stopped_at) <= BUDGET


TestBooks = Books.TestCase
TestBooks.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
