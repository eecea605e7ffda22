"""captured == published + dropped + buffered + spooled, whatever happens in whatever order."""

import pytest
from camera.rig import balanced
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from workers.camera.ledger import DropReason, Ledger, Place, Tally
from workers.camera.parcel import Owner

pytestmark = pytest.mark.unit

OWNERS = [Owner(f"cam-{number}", "line-1", "boot") for number in range(3)]
OWNER = st.sampled_from(OWNERS)
PLACE = st.sampled_from(Place)


class LedgerStates(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger()
        self.captured = dict.fromkeys(OWNERS, 0)
        for owner in OWNERS:
            self.ledger.open(owner)

    def waiting(self, owner: Owner, place: Place) -> int:
        tally = self.ledger.snapshot()[owner]
        return tally.buffered if place is Place.BUFFERED else tally.spooled

    @rule(owner=OWNER)
    def capture(self, owner: Owner) -> None:
        assert self.ledger.capture(owner) == self.captured[owner]
        self.captured[owner] += 1

    @precondition(lambda self: any(tally.waiting for tally in self.ledger.snapshot().values()))
    @rule(owner=OWNER, place=PLACE, data=st.data())
    def leave(self, owner: Owner, place: Place, data: st.DataObject) -> None:
        there = self.waiting(owner, place)
        deed = data.draw(st.sampled_from(["move", "publish", "drop"]))
        if deed == "drop":
            frames = data.draw(st.integers(1, there + 1))
            if frames > there:
                with pytest.raises(ValueError, match="shall leave"):
                    self.ledger.drop(owner, place, DropReason.SPOOL_FULL, frames)
            else:
                self.ledger.drop(owner, place, data.draw(st.sampled_from(DropReason)), frames)
            return
        if not there:
            with pytest.raises(ValueError, match="shall leave"):
                self.ledger.publish(owner, place)
        elif deed == "publish":
            self.ledger.publish(owner, place)
        else:
            other = Place.SPOOLED if place is Place.BUFFERED else Place.BUFFERED
            self.ledger.move(owner, place, other)

    @invariant()
    def every_frame_is_somewhere(self) -> None:
        for owner, tally in self.ledger.snapshot().items():
            assert balanced(tally)
            assert tally.captured == self.captured[owner]


TestLedgerStates = LedgerStates.TestCase
TestLedgerStates.settings = settings(max_examples=50, stateful_step_count=40, deadline=None)


def test_counting_goes_on_where_a_former_process_left_off() -> None:
    ledger, owner = Ledger(), OWNERS[0]
    ledger.open(owner, Tally(captured=10, published=6, dropped={"buffer_full": 1}, spooled=3))
    ledger.publish(owner, Place.SPOOLED)
    assert ledger.snapshot()[owner] == Tally(captured=10, published=7, dropped={"buffer_full": 1}, spooled=2)


def test_a_snapshot_does_not_change_afterwards() -> None:
    ledger, owner = Ledger(), OWNERS[0]
    ledger.open(owner)
    ledger.capture(owner)
    before = ledger.snapshot()
    ledger.drop(owner, Place.BUFFERED, DropReason.EMPTY)
    assert before[owner] == Tally(captured=1, buffered=1)
