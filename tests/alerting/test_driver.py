"""One line's PLC, driven: levels are kept, stops that are void are not written, and whoever lost the line is silent."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import groupby
from pathlib import Path
from uuid import uuid4

import pytest
from alerting.factory import Line, operation, score
from alerting.plc_peers import PATIENT_S, TIMEOUT_S, config, start_broker, wait_for

from pipeline.boot_time import boot_time_s
from pipeline.events import Act, Action, Alarm, AlarmKind, CommandReply, LineCommand, Outcome, now
from pipeline.kafka.lease import Lease
from workers.alerting.actuators.base import (
    Actuator,
    ActuatorError,
    GaveWayError,
    GivesWay,
    Guard,
    Image,
    ReadBack,
    matches,
    never,
)
from workers.alerting.actuators.messages import to_message
from workers.alerting.actuators.open import open_actuator
from workers.alerting.core import effects, reports
from workers.alerting.core.outbox import NOTHING, add, post, settle, withdraw
from workers.alerting.core.reports import Answer, Link, Report
from workers.alerting.core.state import Episode
from workers.alerting.plcs import driver as driver_module
from workers.alerting.plcs.drive import Order, image
from workers.alerting.plcs.driver import Driver
from workers.alerting.policy import OnLoss
from workers.local.ports import free_ports
from workers.plc.ladder import HOLD, RUN, Inputs, Ladder
from workers.plc.message_sides import answer
from workers.plc.sides import Sides
from workers.plc.station import SCAN_S, Station

pytestmark = [pytest.mark.services, pytest.mark.usefixtures("quick_opcua")]


class AskedLease(Lease):
    """Counts how often a driver asked it."""

    asked = 0

    @property
    def held(self) -> bool:
        self.asked += threading.current_thread().name.startswith("plc-")
        return super().held


@dataclass
class Rig:
    """A Modbus PLC and a driver before it."""

    port: int
    ladder: Ladder
    station: Station
    lease: AskedLease
    driver: Driver
    exchanged: threading.Event
    planned: list[Callable[[], object]]
    reports: list[Report] = field(default_factory=list)

    def between_exchanges(self, act: Callable[[], object]) -> None:
        """Done by the driver's own thread at the end of one: what is changed in the PLC amid one, it overwrites."""
        self.planned.append(act)
        wait_for(lambda: not self.planned, "the end of a short exchange")

    def wait_for_exchanges(self) -> None:
        """Until what is not to happen had its chance: the first may have begun before."""
        for _ in range(3):
            self.exchanged.clear()
            assert self.exchanged.wait(30)

    def wait_for_looks(self) -> None:
        """The same of a driver that writes nothing: whether the lease is held it asks in each cycle."""
        before = self.lease.asked
        wait_for(lambda: self.lease.asked > before + 3, "looks at the lease")

    def outcomes(self) -> list[Outcome]:
        return [report.outcome for report in self.reports if isinstance(report, Answer)]

    def links(self) -> list[bool]:
        """Each change, however many reasons were told of it."""
        return [up for up, _ in groupby(report.up for report in self.reports if isinstance(report, Link))]

    def faults(self) -> list[str]:
        return [report.detail for report in self.reports if isinstance(report, Link) and not report.up]

    def restart(self, inputs: Inputs | None = None) -> None:
        """The PLC loses its power, and with it all that was written. `inputs`: what stands in it when it is back."""
        self.station.stop()
        self.ladder = Ladder("line-1", self.ladder.watchdog_s)
        if inputs:
            self.ladder.write(inputs)
        self.station = Station([self.ladder], modbus_port=self.port)
        self.station.start()


def rig_with(
    folder: Path, lease: AskedLease, ladder: Ladder, protocol: str, timeout_s: float, cycle_s: float = 0.05
) -> Rig:
    (port,) = free_ports(1)
    station = Station([ladder], **{"modbus_port" if protocol == "coils" else f"{protocol}_port": port})
    station.start()
    told, exchanged, planned = list[Report](), threading.Event(), list[Callable[[], object]]()

    def ended(line_id: str, seconds: float, good: bool) -> None:
        if good and seconds < cycle_s and planned:  # after a longer one the driver writes before it looks
            planned[0]()
            planned.clear()
        exchanged.set()

    actuator = open_actuator("line-1", config(protocol, port, folder, timeout_s))
    driver = Driver("line-1", actuator, lease, told.append, cycle_s=cycle_s, exchanged=ended)
    driver.silence()
    return Rig(port, ladder, station, lease, driver, exchanged, planned, told)


@contextmanager
def kept(folder: Path, cycle_s: float) -> Iterator[Rig]:
    lease = AskedLease(60)
    keeper = Keeper(lease)
    made = rig_with(folder, lease, Ladder("line-1", watchdog_s=60), "modbus", PATIENT_S, cycle_s)
    try:
        yield made
    finally:
        made.driver.end()
        made.driver.join(5)
        made.station.stop()
        keeper.stop()


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with kept(tmp_path, 0.05) as made:
        yield made


@pytest.fixture
def slow_rig(tmp_path: Path) -> Iterator[Rig]:
    """With exchanges that are shorter than the cycle: after one, the driver looks before it writes."""
    with kept(tmp_path, 0.4) as made:
        yield made


class Keeper:
    """Renews the lease as a loop would whose broker answers."""

    def __init__(self, lease: Lease) -> None:
        self._ended = threading.Event()
        lease.renew(boot_time_s())

        def keep() -> None:
            while not self._ended.wait(0.2):
                if lease.held:
                    lease.renew(boot_time_s())

        threading.Thread(target=keep, daemon=True).start()

    def stop(self) -> None:
        self._ended.set()


@contextmanager
def driven(actuator: Actuator, cycle_s: float = 5) -> Iterator[tuple[Driver, list[Report]]]:
    """A driver of this actuator, with a lease that is kept, and what it tells."""
    lease, told = Lease(60), list[Report]()
    keeper = Keeper(lease)
    driver = Driver("line-1", actuator, lease, told.append, cycle_s=cycle_s)
    driver.silence()
    try:
        yield driver, told
    finally:
        driver.end()
        driver.join(5)
        keeper.stop()


def stop_command(valid_s: float = 30) -> LineCommand:
    line = Line()
    for sequence in range(3):
        line.see(score(sequence))
    (command,) = line.commands
    at = now()
    return command.model_copy(
        update={"issued_at": at, "captured_at": at, "expires_at": at + timedelta(seconds=valid_s)}
    )


def void(command: LineCommand) -> LineCommand:
    return command.model_copy(update={"expires_at": now()})


def order(command: LineCommand | None = None, epoch: int = 1, **changes: object) -> Order:
    return replace(Order("line-1", epoch, command, False, OnLoss.HOLD), **changes)  # type: ignore[arg-type]


@pytest.fixture
def taken_over(tmp_path: Path) -> Iterator[tuple[Driver, Ladder]]:
    """The driver of a worker that has taken a running line over, and has not looked at it yet."""
    (port,) = free_ports(1)
    ladder, lease = Ladder("line-1", watchdog_s=60), Lease(60)
    lease.renew(boot_time_s())
    ladder.write(Inputs(epoch=1, heartbeat=7))
    with Station([ladder], modbus_port=port):
        actuator = open_actuator("line-1", config("modbus", port, tmp_path))
        driver = Driver("line-1", actuator, lease, lambda report: None, cycle_s=0.05)
        yield driver, ladder
        driver.end()
        driver.join(5)


def test_a_takeover_takes_no_run_permit_of_a_line_that_is_watched(taken_over: tuple[Driver, Ladder]) -> None:
    """It fell for a cycle where the PLC was quicker than the worker's first look, and a line without fault stood."""
    driver, ladder = taken_over
    driver.order(order(epoch=2))
    time.sleep(0.5)  # what was written too early was written at once
    driver.alive(60)
    wait_for(lambda: ladder.inputs.epoch == 2, "the first write")
    assert all(inputs.permit for inputs in ladder.written)
    assert ladder.running


def test_a_stop_waits_for_no_look_at_its_line(taken_over: tuple[Driver, Ladder]) -> None:
    driver, ladder = taken_over
    driver.order(order(stop_command(), epoch=2))
    wait_for(lambda: ladder.held, "the stop")


def test_a_stop_is_written_read_back_and_answered_once(rig: Rig) -> None:
    rig.driver.order(order())
    wait_for(lambda: rig.ladder.inputs.epoch == 1, "the first write")
    command = stop_command()
    rig.driver.order(order(command))
    wait_for(lambda: rig.outcomes() == [Outcome.ACCEPTED], "the answer")
    rig.driver.order(order(command, proved=True))
    rig.wait_for_exchanges()
    assert (rig.ladder.stop, rig.ladder.held, rig.ladder.running, rig.ladder.stops) == (True, True, False, 1)
    assert rig.outcomes() == [Outcome.ACCEPTED]


def test_taking_the_stop_back_does_not_start_the_line(rig: Rig) -> None:
    command = stop_command()
    rig.driver.order(order(command))
    wait_for(lambda: rig.ladder.held, "the hold")
    rig.driver.alive(30)
    rig.driver.order(order(effects.release(command, 1, now()), over_own=True))
    wait_for(lambda: not rig.ladder.stop and rig.ladder.permit, "the release")
    assert (rig.ladder.held, rig.ladder.running) == (True, False)
    rig.ladder.press_start()
    assert not rig.ladder.running
    rig.ladder.press_reset()
    assert not rig.ladder.running
    rig.ladder.press_start()
    assert rig.ladder.running


def test_a_plc_with_two_protocols_does_what_the_one_in_use_says(tmp_path: Path) -> None:
    modbus_port, opcua_port = free_ports(2)
    ladder = Ladder("line-1")
    images = [Image(1, n, Action.HOLD if n % 2 else None, run_permit=not n % 2) for n in range(40)]
    with Station([ladder], modbus_port=modbus_port, opcua_port=opcua_port):
        actuator = open_actuator("line-1", config("modbus", modbus_port, tmp_path))
        for image in images:
            assert matches(image, actuator.exchange(image, lambda: None))
            time.sleep(SCAN_S * 1.5)
        actuator.close()
    assert [written.command for written in ladder.written] == [HOLD if image.stop else RUN for image in images]


def test_a_void_stop_is_never_written(rig: Rig) -> None:
    rig.driver.order(order(stop_command(valid_s=-1)))
    wait_for(lambda: rig.outcomes() == [Outcome.EXPIRED], "the answer")
    rig.wait_for_looks()
    assert not rig.ladder.written


def test_a_void_stop_that_stands_all_the_same_is_proved_by_looking(rig: Rig) -> None:
    """Its writer died between the write and the answer."""
    rig.ladder.write(Inputs(1, 1, HOLD, False))
    rig.driver.order(order(stop_command(valid_s=-1), epoch=2))
    wait_for(lambda: rig.outcomes() == [Outcome.ACCEPTED], "the answer")
    assert rig.ladder.stops == 1


@pytest.mark.parametrize("asked", [None, Action.REJECT, Action.UNHOLD_PERMITTED])
def test_a_stop_that_is_not_ours_is_not_taken_away(rig: Rig, asked: Action | None) -> None:
    """A REJECT was written over it, and the line ran that another had stopped; and so did the reset of a REJECT."""
    rig.ladder.write(Inputs(0, 1, HOLD, False))
    rig.driver.order(order(asked and stop_command().model_copy(update={"action": asked})))
    wait_for(lambda: rig.links() == [False], "the complaint")
    assert "not by an order that Andon knows" in rig.faults()[0]
    assert rig.ladder.stop
    rig.ladder.write(Inputs(0, 1, RUN, False))
    wait_for(lambda: rig.ladder.inputs.epoch == 1, "what was asked for")
    wait_for(lambda: rig.outcomes() == ([Outcome.ACCEPTED] if asked else []), "its proof")
    assert rig.ladder.reject == (asked is Action.REJECT)


def test_a_stop_that_is_set_once_ours_is_gone_is_not_taken_away_while_its_release_is_not_confirmed() -> None:
    """A permit that a machine keeps to itself let RUN be written with each cycle, and nobody could hold the line."""
    written: list[str] = []

    class Unpermitted:
        address = "a machine with a permit of its own"
        stopped = True

        def read(self, gives_way: GivesWay = never) -> ReadBack:
            return ReadBack(stop=self.stopped, run_permit=False)

        def exchange(self, image: Image, guard: Guard, gives_way: GivesWay = never) -> ReadBack:
            guard()
            written.append(image.level)
            self.stopped = True  # by a person, as soon as it was read
            return ReadBack(stop=False, run_permit=False)

        def close(self) -> None:
            pass

    with driven(Unpermitted(), cycle_s=0.05) as (driver, told):
        driver.alive(60)
        driver.order(order(effects.release(stop_command(), 1, now()), over_own=True))
        wait_for(lambda: any(isinstance(one, Link) and "not by an order" in one.detail for one in told), "the word")
        (answer,) = (one for one in told if isinstance(one, Answer))
        assert (answer.outcome, answer.stop_gone, written) == (Outcome.REJECTED, True, ["RUN"])


def test_a_stop_of_ours_that_a_plc_shows_only_once_it_has_started_is_taken_back() -> None:
    """Meanwhile it showed its defaults, and its own stop passed for another's: it stood for good."""

    class Starting:
        address = "a PLC that starts"
        ready = asked = False
        level, permit, epoch = "HOLD", False, 1

        def read(self, gives_way: GivesWay = never) -> ReadBack:
            if not self.ready:
                return ReadBack(level="RUN", stop=False, run_permit=False, epoch=0)
            return ReadBack(level=self.level, stop=self.level == "HOLD", run_permit=self.permit, epoch=self.epoch)

        def exchange(self, image: Image, guard: Guard, gives_way: GivesWay = never) -> ReadBack:
            guard()
            self.asked = True
            if self.ready:
                self.level, self.permit, self.epoch = image.level, image.run_permit, image.epoch
            return self.read()

        def close(self) -> None:
            pass

    plc = Starting()
    with driven(plc, cycle_s=0.05) as (driver, told):
        driver.alive(60)
        driver.order(order(effects.release(stop_command(), 1, now()), over_own=True))
        wait_for(lambda: any(isinstance(one, Answer) for one in told), "an answer")
        assert plc.asked
        plc.ready = True
        wait_for(lambda: plc.level == "RUN", "the release")


def test_a_stop_that_is_asked_for_while_a_release_looks_goes_first() -> None:
    """It waited for the exchange of the release, and the line ran for that long."""
    command, written = stop_command(), list[str]()

    class Looked:
        address = "one that does not give way"

        def read(self, gives_way: GivesWay = never) -> ReadBack:
            driver.order(order(command))
            return ReadBack(level="HOLD", stop=True, epoch=1)

        def exchange(self, image: Image, guard: Guard, gives_way: GivesWay = never) -> ReadBack:
            guard()
            written.append(image.level)
            return ReadBack(level=image.level, stop=image.stop, run_permit=image.run_permit, epoch=image.epoch)

        def close(self) -> None:
            pass

    with driven(Looked()) as (driver, _):
        driver.alive(60)
        driver.order(order(effects.release(command, 1, now()), over_own=True))
        wait_for(lambda: bool(written), "an exchange")
        assert written[0] == "HOLD"


def test_a_stop_that_another_sets_at_a_free_line_is_not_taken_away(slow_rig: Rig) -> None:
    """As at first contact: the next heartbeat wrote RUN over a HOLD that a person had set at the PLC."""
    ladder, driver = slow_rig.ladder, slow_rig.driver
    driver.alive(60)
    driver.order(order())
    wait_for(lambda: ladder.inputs.heartbeat > 1, "heartbeats")
    slow_rig.between_exchanges(lambda: ladder.write(replace(ladder.inputs, command=HOLD)))
    wait_for(lambda: bool(slow_rig.faults()), "the complaint")
    assert "not by an order that Andon knows" in slow_rig.faults()[0]
    beats = ladder.inputs.heartbeat
    time.sleep(1)
    assert (ladder.stop, ladder.inputs.heartbeat) == (True, beats)
    ladder.write(replace(ladder.inputs, command=RUN))
    wait_for(lambda: ladder.inputs.heartbeat > beats, "heartbeats again")
    driver.order(order(stop_command()))
    wait_for(lambda: bool(slow_rig.outcomes()), "the stop's answer")


def test_a_stop_that_another_sets_while_the_plc_is_away_is_not_taken_away(rig: Rig) -> None:
    rig.driver.order(order())
    wait_for(lambda: rig.ladder.inputs.epoch == 1, "the first write")
    rig.station.stop()
    wait_for(lambda: rig.links()[-1:] == [False], "the complaint")
    time.sleep(driver_module.LOOK_FIRST_AFTER_S)
    rig.restart(Inputs(1, 0, HOLD, False))
    wait_for(lambda: "not by an order that Andon knows" in rig.faults()[-1], "the second one")
    assert rig.ladder.stop


def test_a_plc_that_lost_its_power_is_stopped_again_and_it_is_told(rig: Rig) -> None:
    command = stop_command()
    rig.driver.order(order(command))
    wait_for(lambda: rig.ladder.held, "the hold")
    rig.driver.order(order(void(command), proved=True))
    rig.station.stop()
    wait_for(lambda: rig.links()[-1:] == [False], "the complaint that it is away")
    time.sleep(driver_module.LOOK_FIRST_AFTER_S)
    rig.restart()
    wait_for(lambda: rig.ladder.held, "the hold after the restart")
    wait_for(lambda: "HOLD was taken away at modbus" in rig.faults()[-1], "the complaint that it ran meanwhile")


def test_a_stop_that_is_gone_when_its_line_is_taken_over_is_written_again_and_told(rig: Rig) -> None:
    """The audit log said `duplicate`, as if it had stood all the time, and no alarm that the line might run."""
    rig.driver.order(order(stop_command(valid_s=-1), epoch=2, proved=True))
    wait_for(lambda: rig.ladder.held, "the hold")
    wait_for(lambda: rig.outcomes() == [Outcome.DUPLICATE], "the answer")
    assert "HOLD was taken away at modbus" in rig.faults()[0]
    (told,) = (report.detail for report in rig.reports if isinstance(report, Answer))
    assert told == "it stood no more, and was written again"


def test_a_stop_that_is_taken_away_at_the_line_is_written_again_and_told_once(
    slow_rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by a PLC's program that takes the coil for a pulse, or by another master: each cycle read its own write."""
    monkeypatch.setattr(driver_module, "TAKEN_AWAY_S", 3600)
    ladder, driver, command = slow_rig.ladder, slow_rig.driver, stop_command()
    driver.order(order(command))
    wait_for(lambda: bool(slow_rig.outcomes()), "the answer")
    driver.order(order(command, proved=True))
    for stops in (1, 2, 3):
        wait_for(lambda stops=stops: ladder.stops == stops, "the stop")
        slow_rig.between_exchanges(lambda: ladder.write(replace(ladder.inputs, command=RUN)))
    wait_for(lambda: ladder.stops == 4, "the stop, once more")
    links = [report.up for report in slow_rig.reports if isinstance(report, Link)]
    assert links == [True, False]
    assert "HOLD was taken away at modbus" in slow_rig.faults()[0]
    assert "level=RUN" in slow_rig.faults()[0]
    monkeypatch.setattr(driver_module, "TAKEN_AWAY_S", 1)
    wait_for(lambda: slow_rig.links() == [True, False, True], "the end of it")


def test_rejecting_that_is_taken_away_at_the_line_is_told_and_takes_no_stop_of_another_away(slow_rig: Rig) -> None:
    ladder, driver = slow_rig.ladder, slow_rig.driver
    command = stop_command().model_copy(update={"action": Action.REJECT})
    driver.alive(60)
    driver.order(order(command))
    wait_for(lambda: bool(slow_rig.outcomes()), "the answer")
    driver.order(order(command, proved=True))
    slow_rig.between_exchanges(lambda: ladder.write(replace(ladder.inputs, command=RUN)))
    wait_for(lambda: ladder.reject, "the rejecting, once more")
    assert "REJECT was taken away" in slow_rig.faults()[0]
    slow_rig.between_exchanges(lambda: ladder.write(replace(ladder.inputs, command=HOLD)))
    wait_for(lambda: "level=HOLD" in slow_rig.faults()[-1], "the complaint")
    time.sleep(driver_module.LOOK_FIRST_AFTER_S + 1)
    assert ladder.stop
    ladder.write(replace(ladder.inputs, command=RUN))
    wait_for(lambda: ladder.reject, "the rejecting, once it is free there")


def test_the_heartbeat_moves_only_while_the_line_is_watched(rig: Rig) -> None:
    rig.driver.order(order())
    wait_for(lambda: rig.ladder.inputs.epoch == 1, "the first write")
    rig.ladder.watchdog_s = 0.5
    before = rig.ladder.inputs.heartbeat
    rig.wait_for_exchanges()
    assert rig.ladder.inputs.heartbeat == before
    rig.driver.alive(30)
    wait_for(lambda: rig.ladder.inputs.heartbeat > before + 3, "heartbeats")
    rig.driver.alive(0.5)
    wait_for(lambda: rig.ladder.watchdog_lost, "the watchdog")
    assert rig.ladder.held
    assert not rig.ladder.stop
    rig.driver.alive(30)
    wait_for(lambda: not rig.ladder.watchdog_lost, "the watchdog's return")
    assert not rig.ladder.running


def test_a_line_that_its_plc_holds_by_itself_is_told_until_it_is_reset_there(rig: Rig) -> None:
    """Its watchdog, where nobody watched it for a while: the line stood, and no alarm said so."""
    rig.driver.order(order())
    wait_for(lambda: rig.links() == [True], "the link")
    rig.ladder.watchdog_s = 0.5
    rig.driver.alive(30)
    wait_for(lambda: rig.ladder.inputs.heartbeat > 0, "a heartbeat")
    rig.driver.silence()
    wait_for(lambda: rig.links() == [True, False], "the complaint")
    assert "holds the line by its own program" in rig.faults()[0]
    rig.ladder.watchdog_s = 60
    rig.driver.alive(30)
    wait_for(lambda: not rig.ladder.watchdog_lost, "the watchdog's return")
    rig.wait_for_exchanges()
    assert rig.links() == [True, False]
    rig.ladder.press_reset()
    wait_for(lambda: rig.links() == [True, False, True], "the end of it")


def test_a_hold_that_is_left_of_a_stop_of_ours_is_no_news(rig: Rig) -> None:
    command = stop_command()
    rig.driver.alive(30)
    rig.driver.order(order(command))
    wait_for(lambda: rig.outcomes() == [Outcome.ACCEPTED], "the proof")
    released = effects.release(command, 1, now())
    rig.driver.order(order(released, over_own=True))
    wait_for(lambda: rig.outcomes() == [Outcome.ACCEPTED, Outcome.ACCEPTED], "the release")
    rig.driver.order(order(released, proved=True))
    rig.wait_for_exchanges()
    assert (rig.ladder.held, rig.links()) == (True, [True])
    rig.ladder.press_reset()
    rig.wait_for_exchanges()
    rig.ladder.held = True
    wait_for(lambda: rig.links() == [True, False], "the hold that is not ours")


def test_whoever_had_lost_the_lease_meanwhile_looks_before_it_writes(tmp_path: Path) -> None:
    """A worker that was frozen amid an exchange took its answer for one of just now, and wrote by its old epoch as soon
    as it was a member again."""
    (port,) = free_ports(1)
    ladder, lease, told = Ladder("line-1"), Lease(60), list[Report]()
    lease.renew(boot_time_s())
    with Station([ladder], modbus_port=port):
        # Each exchange takes longer than the cycle, so nothing is looked at between two writes.
        driver = Driver(
            "line-1", open_actuator("line-1", config("modbus", port, tmp_path)), lease, told.append, cycle_s=0.001
        )
        driver.silence()
        driver.order(order())
        wait_for(lambda: ladder.inputs.epoch == 1, "the first write")
        lease.drop()
        ladder.write(Inputs(2, 0, HOLD, False))
        lease.renew(boot_time_s())
        wait_for(lambda: any("has taken epoch 2" in one.detail for one in told if isinstance(one, Link)), "the fence")
        driver.end()
        driver.join(5)
    assert ladder.refused == 0


def test_a_takeover_moves_no_heartbeat_of_a_line_that_nobody_watches(rig: Rig) -> None:
    """A successor that began at 0 gave a PLC whose watchdog had tripped 3 s of a line that seems watched."""
    rig.ladder.watchdog_s = 0.5
    rig.ladder.write(Inputs(epoch=0, heartbeat=7))
    wait_for(lambda: rig.ladder.watchdog_lost, "the watchdog")
    rig.driver.order(order())
    wait_for(lambda: rig.ladder.inputs.epoch == 1, "the first write")
    assert (rig.ladder.inputs.heartbeat, rig.ladder.watchdog_lost) == (7, True)
    rig.driver.alive(30)
    wait_for(lambda: not rig.ladder.watchdog_lost, "the watchdog's return")


@pytest.mark.parametrize(("on_loss", "permit"), [(OnLoss.HOLD, False), (OnLoss.RUN_WITH_ALARM, True)])
def test_what_the_line_may_do_unwatched_is_the_plants_choice(rig: Rig, on_loss: OnLoss, permit: bool) -> None:
    rig.driver.order(order(on_loss=on_loss))
    wait_for(lambda: rig.ladder.inputs.epoch == 1, "the first write")
    assert rig.ladder.permit is permit


def test_without_the_lease_nothing_is_written(rig: Rig) -> None:
    rig.driver.order(order())
    wait_for(lambda: rig.ladder.inputs.epoch == 1, "the first write")
    rig.lease.drop()
    written = list(rig.ladder.written)
    rig.driver.order(order(stop_command()))
    rig.wait_for_looks()
    assert list(rig.ladder.written) == written


def test_whoever_finds_a_later_epoch_writes_nothing_until_it_is_set_back_there(rig: Rig) -> None:
    """It wrote nothing after that either, until it was started again: who did as operations.md says had a line that no
    stop reached."""
    rig.driver.order(order())
    wait_for(lambda: rig.ladder.inputs.epoch == 1, "the first write")
    rig.ladder.write(Inputs(2, 0, RUN, True))
    wait_for(lambda: rig.links()[-1:] == [False], "the complaint")
    refused = rig.ladder.refused
    rig.driver.order(order(stop_command()))
    rig.wait_for_looks()
    assert (rig.ladder.refused, rig.ladder.stops) == (refused, 0)
    rig.ladder.inputs = Inputs()
    wait_for(lambda: rig.ladder.held, "the stop")
    wait_for(lambda: rig.links()[-2:] == [False, True], "the end of the complaint")


class Gated:
    """A PLC whose first stop takes until the gate opens."""

    address = "gated://plc"

    def __init__(self) -> None:
        self.gate, self.stopping = threading.Event(), threading.Event()

    def read(self, gives_way: GivesWay = never) -> ReadBack:
        return ReadBack(stop=False)

    def exchange(self, image: Image, guard: Guard, gives_way: GivesWay = never) -> ReadBack:
        guard()
        if image.stop:
            self.stopping.set()
            self.gate.wait(60)
        return ReadBack(stop=image.stop)

    def close(self) -> None: ...


def test_a_stop_whose_exchange_outlasts_a_takeover_is_answered_in_the_new_epoch() -> None:
    plc, command = Gated(), stop_command()
    with driven(plc, cycle_s=0.05) as (driver, told):
        driver.order(order(command, epoch=1))
        assert plc.stopping.wait(30)
        driver.order(order(command, epoch=2))
        plc.gate.set()
        wait_for(lambda: {(type(r), r.epoch) for r in told} >= {(Answer, 2), (Link, 2)}, "what counts in epoch 2")


def test_a_plc_that_is_away_is_told_once_and_stopped_when_it_is_back_in_time(rig: Rig) -> None:
    rig.station.stop()
    rig.driver.order(order(stop_command()))
    wait_for(lambda: rig.links() == [False], "the complaint")
    rig.restart()
    wait_for(lambda: rig.ladder.held and rig.links() == [False, True], "the hold")
    assert rig.outcomes() == [Outcome.ACCEPTED]


def test_a_plc_that_comes_back_as_another_lines_says_so(rig: Rig) -> None:
    """It was written to no more, no stop either, and its alarm went on to say that nothing answers there."""
    rig.driver.order(order())
    wait_for(lambda: rig.links() == [True], "the first contact")
    rig.station.stop()
    wait_for(lambda: rig.links() == [True, False], "the complaint")
    rig.restart(Inputs(epoch=9))
    told = "has taken epoch 9, this worker has 1: it writes nothing there, no stop either"
    wait_for(lambda: any(told in fault for fault in rig.faults()), told)
    rig.wait_for_looks()
    assert sum(told in fault for fault in rig.faults()) == 1


def test_a_fault_that_is_back_after_another_is_told_again_but_not_with_each_exchange(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page went on to tell of a later epoch at a PLC that had been unplugged since."""
    monkeypatch.setattr(driver_module, "TELL_AGAIN_S", 2.0)
    rig.driver.order(order())
    wait_for(lambda: rig.links() == [True], "the first contact")
    rig.station.stop()
    wait_for(lambda: len(rig.faults()) == 1, "the complaint")
    rig.restart(Inputs(epoch=9))
    wait_for(lambda: len(rig.faults()) == 2, "the later epoch")
    rig.station.stop()
    wait_for(lambda: len(rig.faults()) == 3, "the first complaint again")
    away, _, again = rig.faults()
    assert away == again
    assert "nothing answers there" in again
    second, third = [report.at for report in rig.reports if isinstance(report, Link)][-2:]
    assert (third - second).total_seconds() > 1.5  # stamped a moment after it was reckoned


def test_what_a_plc_in_fault_tells_anew_is_noted_on_its_alarm() -> None:
    line = Line()

    def told(detail: str) -> list[tuple[Act, str]]:
        link = Link("line-1", 0, False, now(), detail)
        line.state, events = reports.apply(line.state, link, now())
        return [(event.act, event.reason) for event in events if isinstance(event, Alarm)]

    assert told("nothing answers there") == [(Act.RAISE, "nothing answers there")]
    assert told("nothing answers there") == []
    assert told("it has taken epoch 9") == [(Act.NOTE, "it has taken epoch 9")]
    assert line.standing == [AlarmKind.PLC]


def test_a_plc_that_is_back_too_late_is_not_stopped(rig: Rig) -> None:
    rig.station.stop()
    rig.driver.order(order(stop_command(valid_s=0.5)))
    wait_for(lambda: rig.outcomes() == [Outcome.REJECTED], "the complaint")
    rig.restart()
    wait_for(lambda: rig.outcomes() == [Outcome.REJECTED, Outcome.EXPIRED], "the answer")
    rig.wait_for_looks()
    assert not rig.ladder.written


@pytest.mark.parametrize("protocol", ["modbus", "opcua"])
def test_a_stop_that_a_hung_program_never_followed_is_void_and_stays_so_when_it_runs_again(
    tmp_path: Path, protocol: str
) -> None:
    lease = AskedLease(60)
    keeper = Keeper(lease)
    rig = rig_with(tmp_path, lease, Ladder("line-1", watchdog_s=60, stuck=True), protocol, TIMEOUT_S)
    try:
        rig.driver.order(order())
        wait_for(lambda: rig.ladder.inputs.epoch == 1, "the first write")
        command = stop_command()
        rig.driver.order(order(command))
        wait_for(lambda: rig.outcomes() == [Outcome.REJECTED], "the complaint")
        assert rig.ladder.inputs.command == HOLD
        line, command = Line(), void(command)
        line.state = line.state.model_copy(
            update={
                "epoch": 1,
                "last_command": command,
                "episode": Episode(episode_id=command.episode_id, command=command),
            }
        )
        rig.driver.order(order(command))
        wait_for(lambda: rig.outcomes()[1:] != [], "the answer after it was void")
        assert rig.outcomes() == [Outcome.REJECTED, Outcome.EXPIRED]
        for report in rig.reports:
            line.state, _ = reports.apply(line.state, report, now())
        entry = line.state.standing(AlarmKind.NOT_STOPPED)
        assert entry
        assert (entry.life.active, line.state.proved) == (True, False)
        rig.driver.order(order(line.state.last_command))
        wait_for(lambda: rig.ladder.inputs.command == RUN, "the void word taken back")
        rig.ladder.stuck = False
        rig.wait_for_exchanges()
        assert not rig.ladder.held
    finally:
        rig.driver.end()
        rig.driver.join(5)
        rig.station.stop()
        keeper.stop()


def test_a_stop_that_a_coil_keeps_and_its_line_did_not_follow_in_time_is_told_as_ours(tmp_path: Path) -> None:
    """As of a line that takes longer to stand than `max_age_s`. It was called nobody's, and to be freed by hand."""
    lease = AskedLease(60)
    keeper = Keeper(lease)
    ladder = Ladder("line-1", inverted=frozenset({"held"}))  # so that it is never read as held
    rig = rig_with(tmp_path, lease, ladder, "coils", TIMEOUT_S)
    line, command = Line(), stop_command()

    def told() -> str:
        while rig.reports:
            line.state, _ = reports.apply(line.state, rig.reports.pop(0), now())
        rig.driver.order(order(line.state.last_command))
        entry = line.state.standing(AlarmKind.PLC)
        return entry.alarm.reason if entry else ""

    try:
        rig.driver.order(order(command))
        wait_for(lambda: ladder.stop, "the stop")
        command = void(command)
        episode = Episode(episode_id=command.episode_id, command=command)
        line.state = line.state.model_copy(update={"epoch": 1, "last_command": command, "episode": episode})
        wait_for(lambda: "It may be one that was given up as unconfirmed: a reset takes that back" in told(), "it")
        assert rig.ladder.stop
        line.state = line.state.model_copy(update={"last_command": effects.release(command, 1, now()), "proved": False})
        rig.driver.order(order(line.state.last_command, over_own=True))
        wait_for(lambda: not rig.ladder.stop, "the release")
    finally:
        rig.driver.end()
        rig.driver.join(5)
        rig.station.stop()
        keeper.stop()


@pytest.mark.parametrize("proved", [False, True])
def test_a_gateway_that_comes_back_gets_the_level_in_force_and_no_stop_that_is_void(
    tmp_path: Path, proved: bool
) -> None:
    """By MQTT, since a broker hands over what it has kept, however late."""
    lease, told, (port,) = Lease(60), list[Report](), free_ports(1)
    keeper, broker = Keeper(lease), start_broker(tmp_path, port)
    actuator = open_actuator("line-1", config("mqtt", port, tmp_path, TIMEOUT_S))
    driver = Driver("line-1", actuator, lease, told.append, cycle_s=0.05)
    driver.silence()
    before, after = Ladder("line-1", watchdog_s=60), Ladder("line-1", watchdog_s=60)
    try:
        with gateway(before, port):
            driver.order(order())
            wait_for(lambda: before.inputs.epoch == 1, "the first write")
            if proved:
                driver.order(order(stop_command(), proved=True))
                wait_for(lambda: before.held, "the stop")
        if proved:
            driver.end()
            driver.join(5)
        else:
            driver.order(order(stop_command(valid_s=1)))
            wait_for(lambda: any(isinstance(report, Answer) for report in told), "the stop given up")
        with gateway(after, port):
            wait_for(lambda: after.inputs.epoch == 1, "what the broker kept")
            if not proved:
                wait_for(lambda: any(getattr(one, "outcome", None) is Outcome.EXPIRED for one in told), "the answer")
        assert (after.held, after.stops) == (proved, int(proved))
    finally:
        driver.end()
        driver.join(5)
        broker.stop(5)
        keeper.stop()


def gateway(ladder: Ladder, port: int) -> Sides:
    return Sides([ladder], "127.0.0.1", None, None, f"127.0.0.1:{port}", None, None)


@pytest.mark.parametrize("valid_s", [-1, 30])
def test_a_gateway_writes_no_stop_that_its_broker_hands_over_when_it_is_void(valid_s: float) -> None:
    ladder, command = Ladder("line-1"), stop_command(valid_s)
    message = json.loads(to_message("line-1", image(order(command), 1, alive=True), "a"))
    told = answer(ladder, message, ladder.wire)
    assert (ladder.held, told["stop"]) == (valid_s > 0, valid_s > 0)


def answered(
    line: Line, outcome: Outcome, epoch: int | None = None, *, by: str = "modbus://plc", orders: tuple[str, ...] = ()
) -> list[CommandReply]:
    command = line.state.last_command
    assert command
    at = line.state.epoch if epoch is None else epoch
    answer = Answer("line-1", at, command.command_id, outcome, by, "stop=1", 1, now())
    line.state, events = reports.apply(line.state, answer, now(), orders)
    line.effects += events
    return [event for event in events if isinstance(event, CommandReply)]


def test_an_answer_becomes_a_reply_and_proves_the_stop() -> None:
    line = Line().burst()
    (reply,) = answered(line, Outcome.ACCEPTED)
    assert (reply.action, reply.value_read_back, line.state.proved) == (Action.HOLD, "stop=1", True)


@pytest.mark.parametrize("changed", ["while it is held", "before the release is confirmed", "never"])
def test_a_stop_that_stands_at_a_plc_that_the_policy_has_replaced_is_told(changed: str) -> None:
    line = Line().burst()
    answered(line, Outcome.ACCEPTED, by="modbus://old")
    if changed == "while it is held":
        answered(line, Outcome.DUPLICATE, by="modbus://new")
        assert line.standing == [AlarmKind.DEFECTS, AlarmKind.PLC]
    line.see(operation(Act.ACKNOWLEDGE, alarm_id=line.alarms[0].alarm_id))
    line.see(operation(Act.RESET))
    answered(line, Outcome.ACCEPTED, by="modbus://old" if changed == "never" else "modbus://new")
    told = [alarm for alarm in line.alarms if alarm.kind is AlarmKind.PLC]
    assert [alarm.act for alarm in told] == ([] if changed == "never" else [Act.RAISE, Act.CLEAR])
    if told:
        assert "modbus://old has confirmed" in told[0].reason
        assert "names modbus://new now" in told[0].reason
    line.burst(first=10)
    answered(line, Outcome.ACCEPTED, by="modbus://new")
    assert len([alarm for alarm in line.alarms if alarm.kind is AlarmKind.PLC]) == len(told)


def test_a_stop_that_was_left_behind_is_told_although_the_plc_has_an_alarm_already() -> None:
    """It was swallowed: the reset did not free the old PLC, and nobody knew."""
    line = Line().burst()
    answered(line, Outcome.ACCEPTED, by="modbus://old")
    line.state, _ = reports.apply(line.state, Link("line-1", line.state.epoch, False, now(), "nothing answers"), now())
    answered(line, Outcome.DUPLICATE, by="modbus://new")
    told = line.alarms[-1]
    assert (told.kind, told.act, "modbus://old has confirmed" in told.reason) == (AlarmKind.PLC, Act.NOTE, True)


def test_a_stop_that_stands_on_signals_that_the_policy_names_no_more_is_told() -> None:
    """One server has the nodes of many lines, so the address may stay."""
    line = Line().burst()
    answered(line, Outcome.ACCEPTED, by="opc.tcp://plc", orders=("s=line-1.Command",))
    answered(line, Outcome.DUPLICATE, by="opc.tcp://plc", orders=("s=line-1.Command", "s=line-1.RunPermit"))
    assert line.standing == [AlarmKind.DEFECTS]
    answered(line, Outcome.DUPLICATE, by="opc.tcp://plc", orders=("s=line-2.Command",))
    assert line.standing == [AlarmKind.DEFECTS, AlarmKind.PLC]
    assert "opc.tcp://plc (s=line-1.Command, s=line-1.RunPermit) has confirmed" in line.alarms[-1].reason


def test_a_plc_that_the_policy_replaces_while_its_line_is_free_is_told_of_once() -> None:
    line = Line()

    def taken_over(*place: str) -> list[str]:
        address, *orders = place or (None,)
        line.state, events = reports.named(line.state, address, tuple(orders), now())
        return [event.reason for event in events if isinstance(event, Alarm) and event.act is not Act.CLEAR]

    assert taken_over() == taken_over("modbus://plc", "coil 1") == taken_over("modbus://plc", "coil 1") == []
    (told,) = taken_over("modbus://plc", "coil 5")
    assert "names modbus://plc (coil 5) for this line, where it named modbus://plc (coil 1)" in told
    entry = line.state.standing(AlarmKind.PLC)
    assert entry
    assert not entry.life.active  # what the new PLC has to tell, as that it stands stopped, is an alarm of its own
    line.state, (stopped,) = reports.apply(line.state, Link("line-1", 0, False, now(), "is stopped"), now())
    assert isinstance(stopped, Alarm)
    assert (stopped.act, stopped.reason) == (Act.RAISE, "is stopped")
    (also_told,) = taken_over("modbus://new")  # as a note, while the alarm stands
    assert line.standing == [AlarmKind.PLC]
    assert "named modbus://plc (coil 5)" in also_told
    line.burst()
    answered(line, Outcome.ACCEPTED, by="modbus://new")
    assert taken_over("modbus://other") == []  # a stop that is left behind is told by its confirmation
    assert taken_over("modbus://other") == []


@pytest.mark.parametrize("protocol", ["modbus", "opcua", "mqtt", "webhook"])
def test_where_a_stop_is_written_is_the_lines_own(protocol: str, tmp_path: Path) -> None:
    found = config(protocol, 1, tmp_path)
    assert set(found.orders) <= {signal for _, (_, signal) in found.places()}
    assert bool(found.orders) is (protocol in ("modbus", "opcua"))


def test_a_stop_that_is_not_confirmed_is_an_alarm_until_it_is() -> None:
    line = Line().burst()
    answered(line, Outcome.REJECTED)
    assert line.standing == [AlarmKind.DEFECTS, AlarmKind.NOT_STOPPED]
    answered(line, Outcome.ACCEPTED)
    entry = line.state.standing(AlarmKind.NOT_STOPPED)
    assert entry
    assert not entry.life.active


def test_after_an_expired_stop_a_timely_burst_still_stops_the_line() -> None:
    line = Line().burst()
    answered(line, Outcome.EXPIRED)
    assert line.state.level is None
    line.burst(first=10)
    assert line.state.level is Action.HOLD
    first, second = line.commands
    assert first.command_id != second.command_id  # a repeat changes nothing, so this must not look like one


def test_a_reset_takes_back_a_stop_that_expired_since_it_may_have_reached_somebody() -> None:
    line = Line().burst()
    answered(line, Outcome.EXPIRED)
    line.see(operation(Act.ACKNOWLEDGE))
    line.see(operation(Act.RESET))
    assert (line.actions, line.standing) == ([Action.HOLD, Action.UNHOLD_PERMITTED], [])


def test_each_stop_that_is_not_confirmed_is_told() -> None:
    line = Line().burst()
    answered(line, Outcome.EXPIRED)
    line.burst(first=10)
    answered(line, Outcome.REJECTED)
    told = [alarm.act for alarm in line.alarms if alarm.kind is AlarmKind.NOT_STOPPED]
    assert told == [Act.RAISE, Act.NOTE]


def test_a_stop_that_its_line_confirms_after_it_was_given_up_is_in_force() -> None:
    line = Line().burst()
    command = line.commands[0]
    line.state, _ = withdraw(line.state, command)
    late = Answer("line-1", line.state.epoch, command.command_id, Outcome.ACCEPTED, "modbus://plc", "stop=1", 1, now())
    line.state, events = reports.apply(line.state, late, now())
    assert [type(event) for event in events] == [CommandReply]
    assert (line.state.level, line.state.proved, line.state.last_command) == (Action.HOLD, True, command)


@pytest.mark.parametrize("heard", [None, Outcome.REJECTED, Outcome.EXPIRED])
def test_a_stop_that_expired_before_it_was_published_and_is_confirmed_all_the_same_is_published(
    heard: Outcome | None,
) -> None:
    """A reply without its command would prove a stop that nobody knows. `heard`: of the PLC, while Kafka was away."""
    line = Line().burst()
    (command,) = line.commands
    line.state = post(line.state, line.effects, 0, 0)
    if heard:
        before = Answer("line-1", line.state.epoch, command.command_id, heard, "modbus://plc", None, 1, now())
        line.state = add(*reports.apply(line.state, before, now()))
    line.state = settle(line.state, NOTHING, command.expires_at + timedelta(seconds=1))
    assert line.state.outbox.commands == line.state.outbox.replies == ()
    late = Answer("line-1", line.state.epoch, command.command_id, Outcome.ACCEPTED, "modbus://plc", "stop=1", 1, now())
    state, events = reports.apply(line.state, late, now())
    owed = settle(post(state, events, 0, 0), NOTHING, now()).outbox
    assert owed.commands == (command,)
    assert [reply.command_id for reply in owed.replies] == [command.command_id]


@pytest.mark.parametrize("second_given_up", [True, False])
def test_a_stop_that_its_line_confirms_after_it_was_asked_for_again_is_in_force(second_given_up: bool) -> None:
    """A slow PLC: the first stop is void unconfirmed, the next burst asks again, and the answer to the first comes. The
    driver heard of no other, or not yet."""
    line = Line().burst()
    line.state, _ = withdraw(line.state, line.commands[0])
    line.burst(first=10)
    first, second = line.commands
    if second_given_up:
        line.state, _ = withdraw(line.state, second, sent=False)
    late = Answer("line-1", line.state.epoch, first.command_id, Outcome.ACCEPTED, "modbus://plc", "stop=1", 1, now())
    state, events = reports.apply(line.state, late, now())
    owed = post(state, events, 0, 0).outbox
    assert owed.commands == ((second,) if second_given_up else ())
    assert [(reply.command_id, reply.outcome) for reply in owed.replies] == [(second.command_id, Outcome.DUPLICATE)]
    assert (state.level, state.proved, state.last_command) == (Action.HOLD, True, second)


def test_an_answer_of_an_earlier_epoch_counts_for_nothing() -> None:
    line = Line().burst()
    assert answered(line, Outcome.ACCEPTED, epoch=line.state.epoch - 1) == []
    assert not line.state.proved


def test_at_first_contact_a_plc_is_read_once_before_it_is_written(tmp_path: Path) -> None:
    """Three times it was: at 3.5 s a look, no stop reached it in the first 14 s after a takeover."""
    calls: list[str] = []

    class Counting:
        address = "a slow one"

        def read(self, gives_way: GivesWay = never) -> ReadBack:
            calls.append("read")
            return ReadBack(level="RUN", stop=False, run_permit=True, epoch=0)

        def exchange(self, image: Image, guard: Guard, gives_way: GivesWay = never) -> ReadBack:
            guard()
            calls.append("exchange")
            return ReadBack(level=image.level, stop=image.stop, run_permit=image.run_permit, epoch=image.epoch)

        def close(self) -> None:
            pass

    with driven(Counting()) as (driver, _):
        driver.order(order())
        wait_for(lambda: "exchange" in calls, "the first write")
        assert calls == ["read", "exchange"]


@pytest.mark.parametrize("action", [None, Action.REJECT])
def test_a_stop_does_not_wait_for_the_rest_of_a_heartbeat_nor_of_a_reject(action: Action | None) -> None:
    """At a PLC of 0.9 s an answer it waited for up to 5.4 s."""
    calls: list[str] = []

    class Slow:
        address = "a slow one"

        def read(self, gives_way: GivesWay = never) -> ReadBack:
            calls.append("read")
            return ReadBack(level="RUN", stop=False, epoch=1)

        def exchange(self, image: Image, guard: Guard, gives_way: GivesWay = never) -> ReadBack:
            guard()
            calls.append(image.level)
            if not image.stop:
                wait_for(gives_way, "a stop that waits")
                raise GaveWayError
            assert not gives_way()
            return ReadBack(level=image.level, stop=image.stop, epoch=image.epoch)

        def close(self) -> None:
            pass

    with driven(Slow()) as (driver, told):
        command = stop_command()
        driver.order(order(action and command.model_copy(update={"action": action, "command_id": uuid4()})))
        wait_for(lambda: (action or "RUN") in calls, "the write before")
        driver.order(order(command))
        wait_for(lambda: any(isinstance(one, Answer) for one in told), "the proof")
        assert calls == ["read", action or "RUN", "HOLD"]


def test_a_stop_does_not_wait_for_the_rest_of_a_look_at_what_a_person_has_stopped() -> None:
    """A REJECT that waits for that person looked at a slow PLC over and over, and a stop waited for the rest of it."""
    calls: list[str] = []

    class Slow:
        address = "a slow one"
        stopped_by_hand = False

        def read(self, gives_way: GivesWay = never) -> ReadBack:
            if gives_way is not never:
                calls.append("look")
                wait_for(gives_way, "a stop that waits")
                raise GaveWayError
            return ReadBack(level="HOLD" if self.stopped_by_hand else "RUN", stop=self.stopped_by_hand, epoch=1)

        def exchange(self, image: Image, guard: Guard, gives_way: GivesWay = never) -> ReadBack:
            guard()
            calls.append(image.level)
            time.sleep(0.2)
            self.stopped_by_hand = True
            return ReadBack(level="HOLD", stop=True, epoch=image.epoch)

        def close(self) -> None:
            pass

    with driven(Slow(), cycle_s=0.1) as (driver, told):
        command = stop_command()
        driver.order(order(command.model_copy(update={"action": Action.REJECT, "command_id": uuid4()})))
        wait_for(lambda: "look" in calls, "a look that gives way")
        driver.order(order(command))
        wait_for(lambda: any(isinstance(one, Answer) and one.outcome is Outcome.ACCEPTED for one in told), "the proof")
        assert calls[:3] == ["REJECT", "look", "HOLD"]


@pytest.mark.parametrize("releases", [False, True])
def test_a_gateway_that_takes_every_second_request_gets_the_stop_and_its_release(releases: bool) -> None:
    """Each write that failed was followed by a look, which was answered, and so by a write that was not, until the stop
    was void: as at a webhook that answers 429 to whoever asks twice at once."""
    requests: list[str] = []

    class Limited:
        address = "a limited one"
        stopped = releases

        def read(self, gives_way: GivesWay = never) -> ReadBack:
            return self._take("read")

        def exchange(self, image: Image, guard: Guard, gives_way: GivesWay = never) -> ReadBack:
            guard()
            found = self._take("exchange")
            self.stopped = image.stop
            return replace(found, level=image.level, stop=image.stop, run_permit=image.run_permit)

        def close(self) -> None:
            pass

        def _take(self, what: str) -> ReadBack:
            requests.append(what)
            if len(requests) % 2:
                raise ActuatorError("answered 429 Too Many Requests")
            return ReadBack(level="HOLD" if self.stopped else "RUN", stop=self.stopped, run_permit=True, epoch=1)

    actuator, command = Limited(), stop_command()
    with driven(actuator) as (driver, _):
        driver.order(order(effects.release(command, 1, now()) if releases else command, over_own=releases))
        wait_for(lambda: actuator.stopped is not releases, "the stop, or its end")
        assert releases or requests[:4] == ["read", "read", "exchange", "exchange"]
