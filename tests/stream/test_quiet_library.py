"""What kafka-python says of a busy machine is not for those who read a worker's log."""

import logging
import time

import pytest
from kafka.net.selector import NetworkSelector

import pipeline.kafka.connection  # noqa: F401  (as every client of ours does)

pytestmark = pytest.mark.unit


async def _waits_for_a_core() -> None:
    time.sleep(0.02)


def test_a_busy_machine_is_not_told_of_as_a_loop_that_hangs(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("kafka"), "level", logging.WARNING)
    loop = NetworkSelector(slow_task_threshold_secs=0.001)
    try:
        loop.run(_waits_for_a_core())
    finally:
        loop.close()
    assert "tight sync loop" not in caplog.text
