"""The people at the demo's lines outlast a PLC that is away for a moment."""

import pytest

from workers.demo.line_side import LineLook, LineSide
from workers.local.ports import free_ports

pytestmark = pytest.mark.unit


def test_a_plc_that_goes_away_before_the_button_is_pressed_ends_no_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    """Faked: that it answered just before."""
    side = LineSide(free_ports(1)[0], ["line-1"])
    stands = LineLook(stop=False, permit=True, held=False, running=False)
    monkeypatch.setattr(side, "look", lambda _: stands)
    side.start_what_may_run()
    assert not side.started
    side.close()
