"""All PLCs of the lines that this worker holds: one driver a line."""

import logging
import queue
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from datetime import datetime
from functools import partial

from pipeline.events import Action, now
from pipeline.kafka.lease import Lease
from workers.alerting.actuators.base import Actuator
from workers.alerting.actuators.config import ActuatorConfig
from workers.alerting.actuators.open import OpenedWhenUsed, open_actuator
from workers.alerting.core.reports import Report
from workers.alerting.core.state import LineState
from workers.alerting.plcs.drive import Order
from workers.alerting.plcs.driver import Driver
from workers.alerting.policy import OnLoss, Policies

log = logging.getLogger(__name__)

JOIN_S = 0.5
"""For all together. One that hangs at its PLC is not waited for: it has been told to write nothing any more, and the
lines whose PLCs are well are unwatched meanwhile."""


class Plant:
    """Called by the worker's own thread alone."""

    def __init__(
        self,
        policies: Policies,
        lease: Lease,
        *,
        open_: Callable[[str, ActuatorConfig, Callable[[], datetime]], Actuator] = open_actuator,
        clock: Callable[[], datetime] = now,
        exchanged: Callable[[str, float, bool], None] = lambda line_id, seconds, good: None,
    ) -> None:
        self._policies = policies
        self._lease = lease
        self._open = open_
        self._clock = clock
        self._exchanged = exchanged
        self._drivers: dict[str, Driver] = {}
        self._reports: queue.SimpleQueue[Report] = queue.SimpleQueue()
        self._unheard: list[Report] = []

    @property
    def lines(self) -> list[str]:
        """With an actuator, whoever holds them."""
        return [line_id for line_id, policy in self._policies.lines.items() if policy.actuator]

    def hold_only(self, lines: Collection[str]) -> None:
        """Lets go of every other line."""
        leaving = [self._drivers.pop(line_id) for line_id in self._drivers.keys() - set(lines)]
        for driver in leaving:
            driver.end()
        deadline_s = time.monotonic() + JOIN_S
        for driver in leaving:
            driver.join(max(0.0, deadline_s - time.monotonic()))
        self._unheard = [report for report in self._unheard if report.line_id in lines]
        for line_id in lines:
            config = self._policies.of(line_id).actuator
            if config is not None and line_id not in self._drivers:
                if config.believes:
                    log.warning("line %s: %s: %s", line_id, config.address, config.believes)
                self._drivers[line_id] = Driver(
                    line_id,
                    OpenedWhenUsed(config.address, partial(self._open, line_id, config, self._clock)),
                    self._lease,
                    self._reports.put,
                    cycle_s=config.cycle_s,
                    clock=self._clock,
                    exchanged=self._exchanged,
                )

    def order(self, state: LineState) -> None:
        """To be called once the state is stored: nothing is written to a PLC that a successor could not know of."""
        driver = self._drivers.get(state.line_id)
        if driver is not None:
            policy = self._policies.of(state.line_id)
            on_loss = (not policy.shadow and policy.on_loss) or OnLoss.RUN_WITH_ALARM
            asked = state.last_command
            # A line on trial is stopped by nothing new, nor by a permit that falls. What held it before holds it until
            # a person resets it, and the reset has to reach its PLC.
            old = state.proved or (asked is not None and asked.action is Action.UNHOLD_PERMITTED)
            command = asked if old or not policy.shadow else None
            driver.order(Order(state.line_id, state.epoch, command, state.proved, on_loss, state.over_own))

    def alive(self, line_id: str, alive: bool, for_s: float) -> None:
        driver = self._drivers.get(line_id)
        if driver is not None:
            driver.alive(for_s) if alive else driver.silence()

    def reports(self, lines: Collection[str]) -> list[Report]:
        """What the PLCs of these lines told and nobody has heard yet, in its order; the rest is kept."""
        with suppress(queue.Empty):
            while True:
                self._unheard.append(self._reports.get_nowait())
        heard = [report for report in self._unheard if report.line_id in lines]
        self._unheard = [report for report in self._unheard if report.line_id not in lines]
        return heard

    def close(self) -> None:
        self.hold_only(())
