"""What a gateway behind MQTT or a webhook may answer."""

import json

import pytest

from workers.alerting.actuators.base import ActuatorError, ReadBack
from workers.alerting.actuators.messages import MAX_ANSWER_BYTES, asked, read_back

pytestmark = pytest.mark.unit


def answer(**signals: object) -> bytes:
    return json.dumps({"ask": "a", "level": "HOLD", "epoch": 1, **signals}).encode()


@pytest.mark.parametrize("signals", [{}, {"stop": None, "run_permit": None, "held": True}])
def test_an_answer_without_a_signal_of_the_line_proves_nothing(signals: dict[str, object]) -> None:
    """A gateway that has lost its PLC knows no more than the level that it was sent."""
    with pytest.raises(ActuatorError, match="neither stop nor run_permit"):
        read_back(answer(**signals), "a")


@pytest.mark.parametrize("signals", [{"stop": True}, {"run_permit": False}])
def test_one_signal_of_the_line_is_enough(signals: dict[str, bool]) -> None:
    assert read_back(answer(**signals), "a") == ReadBack(level="HOLD", epoch=1, **signals)


@pytest.mark.parametrize(
    "garbled", [{"level": "x" * 60_000}, {"epoch": 1 << 32}, {"epoch": -1}], ids=["level", "high", "negative"]
)
def test_a_garbled_answer_fences_nobody_out_and_fills_no_alarm(garbled: dict[str, object]) -> None:
    with pytest.raises(ActuatorError, match=f"otherwise than agreed: {next(iter(garbled))}") as told:
        read_back(answer(stop=True, **garbled), "a")
    assert len(str(told.value)) < 200


@pytest.mark.parametrize("value", [b"", b"\xff", b"3", b"[" * 60_000, answer(note="x" * MAX_ANSWER_BYTES)])
def test_what_is_no_answer_is_passed_over(value: bytes) -> None:
    assert asked(value) is None
