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
        read_back(answer(**signals), "a", "line-1")


@pytest.mark.parametrize("signals", [{"stop": True}, {"run_permit": False}])
def test_one_signal_of_the_line_is_enough(signals: dict[str, bool]) -> None:
    assert read_back(answer(**signals), "a", "line-1") == ReadBack(level="HOLD", epoch=1, **signals)


@pytest.mark.parametrize(
    "garbled", [{"level": "x" * 60_000}, {"epoch": 1 << 32}, {"epoch": -1}], ids=["level", "high", "negative"]
)
def test_a_garbled_answer_fences_nobody_out_and_fills_no_alarm(garbled: dict[str, object]) -> None:
    with pytest.raises(ActuatorError, match=f"otherwise than agreed: {next(iter(garbled))}") as told:
        read_back(answer(stop=True, **garbled), "a", "line-1")
    assert len(str(told.value)) < 200


def test_what_a_gateway_says_of_another_line_proves_nothing_of_this_one() -> None:
    """It took our question, and asked the wrong PLC."""
    assert read_back(answer(stop=True, line_id="line-1"), "a", "line-1").stop
    with pytest.raises(ActuatorError, match="answered for line 'line-2', which proves nothing of 'line-1'"):
        read_back(answer(stop=True, line_id="line-2"), "a", "line-1")


def test_an_answer_that_is_no_json_is_told_as_that() -> None:
    with pytest.raises(ActuatorError, match="otherwise than agreed: Invalid JSON"):
        read_back(b"<html>log in</html>", "a", "line-1")


@pytest.mark.parametrize("value", [b"", b"\xff", b"3", b"[" * 60_000, answer(note="x" * MAX_ANSWER_BYTES)])
def test_what_is_no_answer_is_passed_over(value: bytes) -> None:
    assert asked(value) is None
