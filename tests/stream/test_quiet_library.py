"""What kafka-python says of a busy machine, and of each connection that is refused, is not for those who read a
worker's log."""

import logging
import time
from collections.abc import Iterator

import pytest
from kafka.net.selector import NetworkSelector
from support.stream import Collect, running, settings_for, wait_until

import pipeline.kafka.connection  # noqa: F401  (as every client of ours does)
from pipeline.kafka.admin import ensure_topics
from pipeline.kafka.step import ConsumerOptions
from workers.local.kafka_broker import KafkaBroker
from workers.printable import OF_CONNECTIONS, begin_logging


async def _waits_for_a_core() -> None:
    time.sleep(0.02)


@pytest.mark.unit
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


@pytest.fixture
def as_in_a_worker() -> Iterator[None]:
    before = {name: logging.getLogger(name).level for name in OF_CONNECTIONS}
    begin_logging()
    yield
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)


@pytest.mark.services
@pytest.mark.usefixtures("as_in_a_worker")
def test_a_broker_that_is_away_fills_no_log(
    own_kafka: KafkaBroker, unique: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Alerting wrote 20 lines a second, half a million in a night."""
    settings = settings_for(own_kafka.bootstrap, unique)
    ensure_topics(settings, settings.topics)
    step = Collect()
    with running(settings, ConsumerOptions(settings.group("test"), (settings.topics.scores.name,)), step):
        wait_until(lambda: len(step.assignments) > 0)
        own_kafka.stop()
        caplog.clear()
        time.sleep(8)
        said = [record for record in caplog.records if record.levelno >= logging.WARNING]
        own_kafka.start()
    assert 0 < len(said) < 30
