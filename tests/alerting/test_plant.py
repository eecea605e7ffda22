"""All PLCs of a worker: those that hang cost those that are well nothing."""

import json
import threading
from collections.abc import Callable
from datetime import datetime
from types import SimpleNamespace

import pytest
from alerting.factory import NOON, Line, operation
from alerting.plc_peers import wait_for

from pipeline.boot_time import boot_time_s
from pipeline.events import Act, Outcome, Score
from pipeline.kafka.lease import Lease
from workers.alerting.actuators.base import ActuatorError, GivesWay, Guard, Image, ReadBack, never
from workers.alerting.actuators.config import ActuatorConfig
from workers.alerting.core import reports
from workers.alerting.core.reports import Answer
from workers.alerting.core.state import LineState
from workers.alerting.plcs import drive
from workers.alerting.plcs import plant as plant_module
from workers.alerting.plcs.drive import Order
from workers.alerting.plcs.driver import Driver
from workers.alerting.plcs.plant import Plant
from workers.alerting.policy import Policies, Response

pytestmark = pytest.mark.unit
LINES = [f"line-{number}" for number in range(8)]


class Hung:
    address = "one that hangs"

    def __init__(self, asked: list[str], line_id: str, over: threading.Event) -> None:
        self._asked, self._line_id, self._over = asked, line_id, over

    def read(self, gives_way: GivesWay = never) -> ReadBack:
        self._asked.append(self._line_id)
        self._over.wait(60)
        raise ActuatorError("it hung")

    def exchange(self, image: Image, guard: Guard, gives_way: GivesWay = never) -> ReadBack:
        return self.read()

    def close(self) -> None:
        pass


def test_plcs_that_hang_are_let_go_of_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each was waited for in turn: with 30 behind a resolver that hung, a takeover began 15 s late, and for so long no
    other line was watched."""
    asked: list[str] = []
    over = threading.Event()

    def open_(line_id: str, config: ActuatorConfig, clock: Callable[[], datetime]) -> Hung:
        return Hung(asked, line_id, over)

    actuator = {"type": "modbus", "host": "plc", "block": 0, "coils": {"stop": 0}}
    lines = {
        line_id: {"on_loss": "hold-on-loss", "actuator": {**actuator, "unit": unit}}
        for unit, line_id in enumerate(LINES)
    }
    policies = Policies.model_validate({"defaults": {"k": 1, "n": 1, "action": "HOLD"}, "lines": lines})
    lease = Lease(6)
    lease.renew(boot_time_s())
    plant = Plant(policies, lease, open_=open_)
    plant.hold_only(LINES)
    for line_id in LINES:
        plant.order(LineState(line_id=line_id, epoch=1))
        plant.alive(line_id, True, 60)
    wait_for(lambda: sorted(asked) == LINES, "all to hang")
    clock = SimpleNamespace(now_s=0.0, monotonic=lambda: clock.now_s)

    def hang(_: Driver, timeout_s: float) -> None:
        clock.now_s += timeout_s

    monkeypatch.setattr(Driver, "join", hang)
    monkeypatch.setattr(plant_module, "time", clock)
    plant.hold_only(())
    over.set()
    assert clock.now_s == plant_module.JOIN_S


NAMED: dict[str, tuple[str, tuple[str, ...]]] = {
    "other PLC": ("modbus://other", ()),
    "one coil more": ("modbus://plc", ("coil 7",)),
}


class Steps(Line):
    """What is asked of a line, and what its PLC and its people do, one word each."""

    def take(self, step: str) -> None:
        if step in ("HOLD", "REJECT"):
            self.policy = self.policy.model_copy(update={"action": Response(step)})
            self.burst(self.offsets[Score])
        elif step == "reset":
            self.see(operation(Act.ACKNOWLEDGE))
            self.see(operation(Act.RESET))
        elif step in NAMED:
            self.state, _ = reports.named(self.state, *NAMED[step], NOON)
        elif step == "upgrade":  # from an Andon that did not keep whose stop may stand
            stored = self.state.model_dump(mode="json", exclude={"stop_of", "stop_moved"})
            self.state = LineState.from_json(json.dumps(stored).encode(), "line-state")
        else:
            assert self.state.last_command
            asked, gone = self.state.last_command.command_id, step == "gone"
            outcome = Outcome.REJECTED if gone else Outcome(step)
            answer = Answer("line-1", self.state.epoch, asked, outcome, "modbus://plc", "v", 1, NOON, stop_gone=gone)
            self.state, _ = reports.apply(self.state, answer, NOON)


@pytest.mark.parametrize(
    ("steps", "may"),
    [
        ("HOLD accepted reset REJECT", True),
        ("HOLD reset REJECT", True),
        ("HOLD expired reset REJECT", True),
        ("HOLD reset REJECT expired reset REJECT", True),
        ("HOLD accepted reset one-coil-more REJECT", True),
        ("HOLD accepted one-coil-more reset REJECT", True),
        ("HOLD accepted reset other-PLC one-coil-more REJECT", False),
        ("REJECT", False),
        ("REJECT accepted reset REJECT", False),
        ("HOLD expired REJECT", False),
        ("HOLD accepted reset accepted REJECT", False),
        ("HOLD reset REJECT accepted reset REJECT", False),
        ("REJECT accepted HOLD expired accepted reset REJECT", False),
        ("HOLD reset other-PLC REJECT", False),
        ("HOLD other-PLC reset REJECT", False),
        ("HOLD accepted other-PLC reset REJECT", False),
        ("HOLD accepted other-PLC reset", True),
        ("HOLD reset other-PLC HOLD reset REJECT", True),
        ("HOLD reset", True),
        ("HOLD accepted reset", True),
        ("HOLD expired reset", True),
        ("REJECT accepted HOLD expired reset", True),
        ("HOLD reset REJECT reset", True),
        ("HOLD accepted reset other-PLC", True),
        ("HOLD reset other-PLC one-coil-more", True),
        ("HOLD reset one-coil-more", True),
        ("HOLD accepted upgrade reset", True),
        ("HOLD expired upgrade reset", True),
        ("HOLD reset upgrade", True),
        ("REJECT reset", False),
        ("REJECT accepted reset", False),
        ("REJECT accepted upgrade reset", False),
        ("HOLD accepted reset accepted REJECT reset", False),
        ("HOLD accepted reset gone", False),
        ("HOLD accepted reset gone REJECT", False),
    ],
)
def test_a_reject_or_a_release_is_written_over_a_stop_where_one_of_ours_may_stand_that_a_person_has_reset(
    steps: str, may: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a line that only ever rejects it was, over the stop of a person; and not over one of ours that the line had
    not confirmed yet, which was called another's and stood until somebody went there."""
    orders: list[Order] = []

    class Told:
        def __init__(self, *_: object, **__: object) -> None:
            self.order = orders.append

        def end(self) -> None:
            pass

        def join(self, timeout_s: float) -> None:
            pass

    monkeypatch.setattr(plant_module, "Driver", Told)
    actuator = {"type": "modbus", "host": "plc", "block": 0, "coils": {"stop": 0, "reject": 1}}
    lines = {"line-1": {"on_loss": "hold-on-loss", "actuator": actuator}}
    policies = Policies.model_validate({"defaults": {"k": 3, "n": 5, "action": "REJECT"}, "lines": lines})
    plant = Plant(policies, Lease(6))
    plant.hold_only(["line-1"])
    line = Steps()
    line.state, _ = reports.named(line.state, "modbus://plc", (), NOON)
    for step in steps.split():
        line.take(step.replace("-", " "))
    plant.order(line.state)
    (order,) = orders
    assert not order.stops
    assert drive.may_write(order, ReadBack(stop=True, reject=False), NOON) is may
