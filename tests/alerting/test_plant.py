"""All PLCs of a worker: those that hang cost those that are well nothing."""

import threading
from collections.abc import Callable
from datetime import datetime
from types import SimpleNamespace

import pytest
from alerting.plc_peers import wait_for

from pipeline.kafka.lease import Lease, boot_time_s
from workers.alerting.actuators.base import ActuatorError, GivesWay, Guard, Image, ReadBack, never
from workers.alerting.actuators.config import ActuatorConfig
from workers.alerting.core.state import LineState
from workers.alerting.plcs import plant as plant_module
from workers.alerting.plcs.driver import Driver
from workers.alerting.plcs.plant import Plant
from workers.alerting.policy import Policies

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
