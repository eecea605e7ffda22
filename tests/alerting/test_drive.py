"""What a PLC's answer means: a word that Andon wrote itself proves nothing where the line's signals say otherwise."""

from dataclasses import replace
from datetime import timedelta

import pytest
from alerting.factory import NOON, Line

from pipeline.events import Action, LineCommand
from workers.alerting.actuators.base import ReadBack
from workers.alerting.core import effects
from workers.alerting.plcs import drive
from workers.alerting.plcs.drive import Order
from workers.alerting.policy import OnLoss

pytestmark = pytest.mark.unit

LATER = NOON + timedelta(hours=1)
"""Every stop of NOON is void by then."""
STUCK = ReadBack(level="HOLD", stop=False, run_permit=False, reject=False, held=False, epoch=1)
"""The command word as Andon wrote it, under a program that does not run."""


def stop(action: Action = Action.HOLD) -> LineCommand:
    (command,) = Line().burst().commands
    return command.model_copy(update={"action": action})


def order(command: LineCommand | None, *, proved: bool = False) -> Order:
    return Order("line-1", 1, command, proved, OnLoss.HOLD)


@pytest.mark.parametrize(
    "found",
    [
        ReadBack(level="HOLD", stop=True, run_permit=False, reject=False, held=True, epoch=0),
        ReadBack(level="HOLD", stop=True, held=True),
        ReadBack(stop=True, run_permit=False),
        ReadBack(level="HOLD"),
        ReadBack(level="HOLD", run_permit=False),
    ],
    ids=["all of an earlier epoch", "without permit", "coils", "a gateway's word", "word and permit"],
)
def test_a_stop_stands_where_every_signal_of_the_line_agrees(found: ReadBack) -> None:
    assert drive.applied(order(stop()), found)


@pytest.mark.parametrize(
    "found",
    [
        STUCK,
        ReadBack(level="HOLD", stop=False),
        ReadBack(level="HOLD", held=False),
        ReadBack(level="HOLD", run_permit=True),
        ReadBack(stop=True, held=False),
        ReadBack(level="RUN", stop=True),
        ReadBack(level="REJECT", reject=True, stop=False),
        ReadBack(run_permit=False),
        ReadBack(run_permit=False, held=True),
        ReadBack(),
    ],
    ids=str,
)
def test_a_stop_does_not_stand_where_a_signal_says_otherwise_or_none_speaks_of_it(found: ReadBack) -> None:
    assert not drive.applied(order(stop()), found)


@pytest.mark.parametrize(
    ("found", "stands"),
    [
        (ReadBack(level="REJECT", reject=True, stop=False, run_permit=True), True),
        (ReadBack(level="REJECT", reject=True, stop=False, run_permit=False), True),
        (ReadBack(level="REJECT"), True),
        (ReadBack(level="REJECT", reject=False), False),
        (ReadBack(run_permit=True), False),
    ],
    ids=["all", "unwatched", "a gateway's word", "only the word", "nothing of it"],
)
def test_a_reject_stands_where_its_signals_agree(found: ReadBack, stands: bool) -> None:
    assert drive.applied(order(stop(Action.REJECT)), found) is stands


def test_a_void_word_of_ours_that_the_line_never_followed_may_be_taken_back() -> None:
    """It would stop the line whenever the program runs again."""
    assert drive.may_write(order(None), STUCK, LATER)


@pytest.mark.parametrize(
    "found",
    [
        replace(STUCK, epoch=0),
        replace(STUCK, epoch=None),
        replace(STUCK, stop=True),
        replace(STUCK, held=True),
        replace(STUCK, stop=None, reject=None, held=None),
    ],
    ids=["another epoch", "no epoch", "it stops", "it is held", "the line tells nothing"],
)
def test_a_stop_that_may_be_anothers_or_may_stand_is_not_taken_back(found: ReadBack) -> None:
    assert not drive.may_write(order(None), found, LATER)


def test_rejecting_takes_the_place_of_no_stop_but_one_of_ours_that_a_person_has_reset() -> None:
    stands, rejecting = ReadBack(level="HOLD", stop=True, epoch=0), order(stop(Action.REJECT))
    assert not drive.may_write(rejecting, stands, NOON)
    assert drive.may_write(replace(rejecting, over_own=True), stands, NOON)
    assert drive.may_write(order(stop()), stands, NOON)


@pytest.mark.parametrize(
    ("found", "stops"),
    [
        (ReadBack(stop=True, reject=True), True),
        (ReadBack(stop=False, reject=True), False),
        (ReadBack(level="REJECT", stop=True, reject=True), False),
        (ReadBack(level="RUN", stop=True), True),
        (ReadBack(level="HOLD", stop=False), True),
        (ReadBack(stop=True, fallen=True), False),
    ],
)
def test_a_stop_that_stands_beside_a_reject_is_one(found: ReadBack, stops: bool) -> None:
    """Of plain coils it is another's: the heartbeat of the REJECT, and its reset, took it away."""
    assert found.asks_to_stop is stops
    rejecting = order(stop(Action.REJECT), proved=True)
    assert drive.is_anothers(replace(rejecting, proved=False), found) is stops


def test_a_release_takes_a_stop_back_until_the_line_has_confirmed_it() -> None:
    stands, free = ReadBack(level="HOLD", stop=True, epoch=0), effects.release(stop(), 1, NOON)
    assert drive.may_write(replace(order(free), over_own=True), stands, LATER)
    assert not drive.may_write(order(free), stands, LATER)
    assert drive.may_write(order(free), ReadBack(level="REJECT", reject=True, epoch=0), LATER)
    assert not drive.may_write(order(free, proved=True), stands, LATER)
    assert drive.may_write(order(free, proved=True), ReadBack(level="RUN", stop=False, epoch=0), LATER)
