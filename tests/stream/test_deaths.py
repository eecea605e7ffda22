"""Dead frames in the log: told, and never without a bound."""

import pytest
from support.stream import frame, incoming

from pipeline.events import DeadReason
from pipeline.replica.deaths import Deaths
from pipeline.scoring import Dead

pytestmark = pytest.mark.unit


def dead(reason: DeadReason, offset: int) -> Dead:
    return Dead(incoming(frame(offset), b"", offset), reason, "why")


def test_of_each_reason_one_is_told_and_the_others_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    """A camera with a wrong recipe wrote a line for every frame: millions a day, each of up to 2,000 characters."""
    now_s = [0.0]
    deaths = Deaths(clock=lambda: now_s[0])
    deaths.tell([dead(DeadReason.UNKNOWN_CAMERA, offset) for offset in range(500)])
    deaths.tell([dead(DeadReason.EMPTY, 500)])
    now_s[0] = 11
    deaths.tell([dead(reason, 501) for reason in (DeadReason.UNKNOWN_CAMERA, DeadReason.EMPTY)])
    assert [record.getMessage() for record in caplog.records] == [
        "frame at frames[0]@0 is dead: unknown_camera: why",
        "frame at frames[0]@500 is dead: empty: why",
        "frame at frames[0]@501 is dead: unknown_camera: why (499 more for this reason since the last line)",
        "frame at frames[0]@501 is dead: empty: why",
    ]
