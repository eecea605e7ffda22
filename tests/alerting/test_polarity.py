"""Signals that are wired the other way round: written so, read so, and told by what they mean."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from alerting.plc_peers import LINE, Peer, config, running_peer, wait_for

from pipeline.boot_time import boot_time_s
from pipeline.events import Action
from pipeline.kafka.lease import Lease
from workers.alerting.actuators.base import Actuator, ActuatorError, Image, ReadBack, matches
from workers.alerting.actuators.config import ModbusConfig
from workers.alerting.actuators.open import open_actuator
from workers.alerting.core.reports import Link, Report
from workers.alerting.plcs.drive import Order
from workers.alerting.plcs.driver import Driver
from workers.alerting.policy import OnLoss
from workers.local.ports import free_ports
from workers.plc.ladder import Ladder
from workers.plc.station import Station

pytestmark = pytest.mark.services

SIGNALS = ("stop", "run_permit", "reject", "held")
HOLD = Image(epoch=5, heartbeat=1, action=Action.HOLD, run_permit=False)
REJECT = Image(epoch=5, heartbeat=2, action=Action.REJECT, run_permit=True)
RUN = Image(epoch=5, heartbeat=3, action=None, run_permit=True)


@pytest.fixture(scope="module", params=["modbus", "coils", "opcua", "mqtt"])
def peer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    with running_peer(request.param, tmp_path_factory.mktemp(request.param), inverted=SIGNALS) as running:
        yield running


def answered(actuator: Actuator, image: Image) -> ReadBack:
    found: list[ReadBack] = []

    def good() -> bool:
        try:
            found.append(actuator.exchange(image, lambda: None))
        except ActuatorError:  # a gateway that has just started may still be subscribing
            return False
        return True

    wait_for(good, f"{image.level} at {actuator.address}")
    return found[-1]


def test_what_is_meant_is_written_and_read_back(peer: Peer) -> None:
    with ExitStack() as ends:
        actuator = peer.actuator(1)
        ends.callback(actuator.close)
        for image in (RUN, HOLD, REJECT, RUN):
            found = answered(actuator, image)
            assert matches(image, found), found
        assert "stop=0" in str(found)
        wire = open_actuator(LINE, config(peer.protocol, peer.port, peer.folder, 1))
        ends.callback(wire.close)
        answered(actuator, HOLD)
        raw = wire.read()
        assert (raw.stop, raw.run_permit, raw.reject, raw.held) == (False, True, True, False), "as the bits lie"


def test_a_configuration_that_forgot_the_polarity_proves_nothing(peer: Peer) -> None:
    if peer.protocol == "coils":
        pytest.skip("plain coils read back what was written: only the line itself shows it")
    with ExitStack() as ends:
        forgetful = open_actuator(LINE, config(peer.protocol, peer.port, peer.folder, 0.5))
        ends.callback(forgetful.close)
        assert not matches(HOLD, answered(forgetful, HOLD))


def test_remote_io_that_fell_to_zero_is_no_order_of_anybody_and_is_brought_back(tmp_path: Path) -> None:
    """An inverted stop reads as a stop when remote I/O starts. Nobody but Andon could ever release it."""
    (port,) = free_ports(1)
    reports: list[Report] = []
    fallen = Ladder(LINE, inverted=frozenset({"stop"}))
    with ExitStack() as ends:
        ends.enter_context(Station([fallen], modbus_port=port))
        where = {"type": "modbus", "host": "127.0.0.1", "port": port, "cycle_s": 0.05}
        bare = ModbusConfig.model_validate({**where, "coils": {"stop": 0}, "inverted": ["stop"]})
        actuator = open_actuator(LINE, bare)
        answered(actuator, HOLD)
        found = actuator.read()
        assert (found.stop, found.fallen, found.stands_stopped) == (True, True, False)
        lease = Lease(6)
        lease.renew(boot_time_s())
        driver = Driver(LINE, actuator, lease, reports.append, cycle_s=0.05)
        ends.callback(driver.join, 5)
        ends.callback(driver.end)
        driver.silence()
        driver.order(Order(LINE, 6, None, False, OnLoss.HOLD))
        wait_for(lambda: not fallen.stop, "released")
    assert all(report.up for report in reports if isinstance(report, Link))


def test_somebodys_stop_beside_a_standing_permit_is_left_alone() -> None:
    assert ReadBack(stop=True, run_permit=True).stands_stopped
    assert not ReadBack(stop=True, fallen=True).stands_stopped
