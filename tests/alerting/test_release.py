"""What a reset that is on its way to a PLC takes back there: Andon's own stop, sooner or later, and no other."""

from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import count
from math import ceil

import pytest
from alerting.factory import NOON, Line, operation
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from pipeline.boot_time import boot_time_s
from pipeline.events import Act, Action, AlarmKind, Score
from pipeline.kafka.lease import Lease
from workers.alerting.actuators.base import ActuatorError, GivesWay, Guard, Image, ReadBack, never
from workers.alerting.core import reports
from workers.alerting.core.reports import Report
from workers.alerting.core.state import LineState
from workers.alerting.plcs import driver as driver_module
from workers.alerting.plcs.drive import Order
from workers.alerting.plcs.driver import Driver
from workers.alerting.policy import OnLoss, Response

pytestmark = pytest.mark.unit

PERSON = "a person"
ANDON = "Andon"
WELL, AWAY, MUTE, NO_PERMIT = "well", "away", "takes what is written and says nothing", "gives no permit"


@dataclass
class Plc:
    """Its word, and who has set it. As an actuator: one write, then one read."""

    address: str
    fences: bool
    """Whether it has an epoch, and refuses a lower one."""
    level: str = "RUN"
    set_by: str = ANDON
    permit: bool = True
    epoch: int = 0
    mood: str = WELL
    answered: Image | None = None
    """What was written last, where the answer came."""

    def read(self, gives_way: GivesWay = never) -> ReadBack:
        if self.mood == AWAY:
            raise ActuatorError("no answer")
        permit, stop = self.permit and self.mood != NO_PERMIT, self.level == "HOLD"
        found = ReadBack(level=self.level, stop=stop, reject=self.level == "REJECT", run_permit=permit)
        return replace(found, epoch=self.epoch) if self.fences else replace(found, level=None)

    def exchange(self, image: Image, guard: Guard, gives_way: GivesWay = never) -> ReadBack:
        guard()
        if self.mood != AWAY and (not self.fences or image.epoch >= self.epoch):
            if image.level != self.level or image.stop:
                self.set_by = ANDON
            self.level, self.permit, self.epoch = image.level, image.run_permit, image.epoch
        if self.mood == MUTE:
            raise ActuatorError("no answer")
        found, self.answered = self.read(), image
        return found

    def close(self) -> None:
        pass


class TurnedByHand(Driver):
    def _run(self) -> None:
        pass

    def turn(self) -> None:
        order = self._taken_up()
        assert order
        try:
            self._turn(order)
        except ActuatorError as error:
            self._failed(order, error)


moves = st.sampled_from([Response.HOLD, Response.REJECT])
moods = st.sampled_from([WELL, AWAY, MUTE, NO_PERMIT])
turns = st.integers(0, 2)
"""Of the driver, after what has happened."""


class AReset(RuleBasedStateMachine):
    """One line, and the two PLCs that its policy names in turn."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = pytest.MonkeyPatch()
        turned = count(1, ceil(driver_module.LOOK_FIRST_AFTER_S + 1))
        self.clock.setattr(driver_module, "boot_time_s", lambda: next(turned))
        self.line = Line()
        self.plcs = [Plc("modbus://plc-a", fences=True), Plc("modbus://plc-b", fences=False)]
        self.asked = False
        """Whether a stop was asked for, and the line was not read without one since in answer to something else."""
        self.take_over([0], before=False, turns=0)

    @property
    def state(self) -> LineState:
        return self.line.state

    @property
    def releases(self) -> bool:
        command = self.state.last_command
        return command is not None and command.action is Action.UNHOLD_PERMITTED and not self.state.proved

    @rule(names=st.lists(st.integers(0, 1), min_size=1, max_size=2), before=st.booleans(), turns=turns)
    def take_over(self, names: list[int], before: bool, turns: int) -> None:
        """`before`: from an Andon that did not keep whose stop may stand."""
        for name in names:
            self.plc, state = self.plcs[name], self.state
            stored = state.to_json()
            if before:
                stored = state.model_copy(update={"stop_of": None}).to_json().replace(b'"stop_of":null,', b"")
                self.asked |= not state.proved or bool(state.level and state.level.stops)
            state = LineState.from_json(stored, "line-state")
            state = state.model_copy(update={"epoch": state.epoch + 1})
            self.line.state, _ = reports.named(state, self.plc.address, (), NOON)
        self.told: list[Report] = []
        self.hours, lease = 0, Lease(1e9)
        lease.renew(boot_time_s())
        self.driver = TurnedByHand(
            "line-1", self.plc, lease, self.told.append, cycle_s=1e9, clock=lambda: NOON + timedelta(hours=self.hours)
        )
        self.driver.alive(1e9)
        self.turn(turns)

    @rule(action=moves, turns=turns, too_late=st.booleans())
    def burst(self, action: Response, turns: int, too_late: bool) -> None:
        """`too_late`: for the PLC."""
        self.line.policy = self.line.policy.model_copy(update={"action": action})
        commands = len(self.line.commands)
        self.line.burst(self.line.offsets[Score])
        self.asked |= any(command.action.stops for command in self.line.commands[commands:])
        self.turn(turns, too_late=too_late)

    @rule(turns=turns)
    def reset(self, turns: int) -> None:
        for act in (Act.ACKNOWLEDGE, Act.RESET):
            self.line.see(operation(act))
        self.turn(turns)

    @rule(level=st.sampled_from(["HOLD", "RUN"]), turns=turns)
    def set_by_hand(self, level: str, turns: int) -> None:
        if self.plc.level != level:
            self.plc.level, self.plc.set_by = level, PERSON
        self.turn(turns)

    @rule(action=moves, then=moods, turns=turns, too_late=st.booleans())
    def burst_and_reset(self, action: Response, then: str, turns: int, too_late: bool) -> None:
        self.burst(action, turns, too_late)
        self.is_in_a_mood(then, 0)
        self.reset(turns)

    @rule(mood=moods, turns=turns)
    def is_in_a_mood(self, mood: str, turns: int) -> None:
        self.plc.mood = mood
        self.turn(turns)

    @rule(whole=st.booleans())
    def loses_its_memory(self, whole: bool) -> None:
        self.plc.epoch = 0
        if whole:
            self.plc.level, self.plc.permit, self.plc.set_by = "RUN", True, ANDON

    def turn(self, turns: int, too_late: bool = False) -> None:
        self.hours = int(too_late)
        for _ in range(turns):
            self.turn_once()

    def turn_once(self) -> None:
        """What the driver tells becomes state."""
        state, found, released = self.state, replace(self.plc), self.releases
        self.driver.order(
            Order("line-1", state.epoch, state.last_command, state.proved, OnLoss.HOLD, over_own=state.over_own)
        )
        self.driver.turn()
        if found.level == "HOLD" and self.plc.level != "HOLD":
            assert found.set_by == ANDON or self.asked, f"{self.plc.level} is written over a stop of {found.set_by}"
            assert state.level is None or state.stop_was_reset
        answered, self.plc.answered = self.plc.answered, None
        if answered and self.plc.level != "HOLD" and (released or (answered.reject and self.plc.mood == WELL)):
            self.asked = False
        for report in self.told:
            self.line.state, _ = reports.apply(self.state, report, NOON, (), self.plc.address)
        self.told.clear()

    def teardown(self) -> None:
        try:
            self.come_to_an_end()
        finally:
            self.clock.undo()

    def come_to_an_end(self) -> None:
        """The PLC answers, a person resets: what stands then is another's, and ends with a RUN by hand."""
        self.plc.mood = WELL
        self.reset(turns=3)
        if self.plc.level == "HOLD":
            assert self.plc.set_by == PERSON or not self.asked
            alarm = self.state.standing(AlarmKind.PLC)
            assert alarm
            assert alarm.life.active
            self.set_by_hand("RUN", turns=3)
        assert self.plc.level == "RUN"
        assert not self.releases


test_a_reset_takes_back_a_stop_of_ours_and_no_other = AReset.TestCase
test_a_reset_takes_back_a_stop_of_ours_and_no_other.settings = settings(
    max_examples=100, stateful_step_count=30, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
