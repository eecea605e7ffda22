"""The simulated PLC's own program, which a plant's should resemble."""

import io

import pytest
from rich.console import Console

from workers.plc.ladder import HOLD, REJECT, RUN, STOP, Inputs, Ladder
from workers.plc.view import plain, plc_view

pytestmark = pytest.mark.unit


@pytest.fixture
def clock() -> list[float]:
    return [0.0]


@pytest.fixture
def ladder(clock: list[float]) -> Ladder:
    return Ladder("line-1", watchdog_s=2, clock=lambda: clock[0])


@pytest.mark.parametrize(("command", "held"), [(RUN, False), (HOLD, True), (STOP, True), (REJECT, False)])
def test_what_each_level_does(ladder: Ladder, command: int, held: bool) -> None:
    ladder.write(Inputs(1, 1, command))
    assert (ladder.held, ladder.running, ladder.reject) == (held, not held, command == REJECT)


def test_a_hold_stays_until_reset_and_only_a_start_starts(ladder: Ladder) -> None:
    ladder.write(Inputs(1, 1, HOLD))
    ladder.press_reset()
    assert ladder.held
    ladder.write(Inputs(1, 2, RUN))
    assert ladder.held
    ladder.press_start()
    assert not ladder.running
    ladder.press_reset()
    assert (ladder.held, ladder.running) == (False, False)
    ladder.press_start()
    assert ladder.running


def test_a_lower_epoch_is_refused_whole(ladder: Ladder) -> None:
    ladder.write(Inputs(5, 1, RUN))
    assert not ladder.write(Inputs(4, 9, HOLD))
    assert (ladder.inputs, ladder.refused, ladder.stop) == (Inputs(5, 1, RUN), 1, False)


@pytest.mark.parametrize("hold_on_loss", [True, False])
def test_a_heartbeat_that_stands_still_is_a_loss(ladder: Ladder, clock: list[float], hold_on_loss: bool) -> None:
    ladder.hold_on_loss = hold_on_loss
    ladder.write(Inputs(1, 1, RUN))
    clock[0] = 1.9
    ladder.write(Inputs(1, 1, RUN))
    ladder.scan()
    assert not ladder.watchdog_lost
    clock[0] = 2.1
    ladder.scan()
    assert (ladder.watchdog_lost, ladder.held, ladder.running) == (True, hold_on_loss, not hold_on_loss)
    ladder.press_reset()
    assert ladder.held is hold_on_loss


def test_without_a_permit_the_line_stands_and_is_not_held(ladder: Ladder) -> None:
    ladder.write(Inputs(1, 1, RUN, permit=False))
    assert (ladder.running, ladder.held) == (False, False)
    ladder.press_start()
    assert not ladder.running


def test_before_the_first_heartbeat_nothing_is_lost(ladder: Ladder, clock: list[float]) -> None:
    clock[0] = 100.0
    ladder.scan()
    assert (ladder.watchdog_lost, ladder.running) == (False, True)


def test_the_view_tells_by_word_and_shape(ladder: Ladder) -> None:
    ladder.write(Inputs(1, 1, HOLD))
    out = Console(file=io.StringIO(), width=110)
    out.print(plc_view([ladder, Ladder("line-2")], ["modbus 127.0.0.1:5020"]))
    text = out.file.getvalue()  # type: ignore[attr-defined]
    assert "■ HELD" in text
    assert "● RUNNING" in text
    assert "epoch 1: HOLD" in text


def test_a_log_of_many_events_goes_on(ladder: Ladder) -> None:
    """It fell silent after the 200 that are kept."""
    printed: list[str] = []
    seen = 0
    for epoch in range(1, 301):
        ladder.write(Inputs(epoch, 1, RUN))
        new, seen = plain(ladder, seen)
        printed += new
    assert [line.split("epoch ")[1] for line in printed] == [f"{epoch}: RUN" for epoch in range(1, 301)]
