"""Asking whether a broker answers never raises, keeps its time, and leaves nothing behind."""

import socket
import threading
from collections.abc import Callable
from types import ModuleType

import pytest

from pipeline.kafka import admin, reading
from pipeline.kafka.connection import KafkaUnavailableError, connection
from pipeline.kafka.probe import broker_answers
from pipeline.settings import Settings
from workers.local.ports import free_ports

pytestmark = pytest.mark.services


def test_one_that_answers(kafka_bootstrap: str) -> None:
    assert broker_answers(kafka_bootstrap, 60)


def test_one_answer_of_several_addresses_is_enough(kafka_bootstrap: str) -> None:
    assert broker_answers(f"127.0.0.1:{free_ports(1)[0]}, {kafka_bootstrap}", 60)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "127.0.0.1", "", "no-such-host.invalid:9092"])
def test_nobody_there(address: str) -> None:
    assert not broker_answers(address, 0.3)


def test_a_server_that_accepts_and_stays_silent_costs_the_time_limit_and_no_thread() -> None:
    threads_before = set(threading.enumerate())
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert not broker_answers(f"127.0.0.1:{silent.getsockname()[1]}", 0.5)  # or it would wait for ever
    assert set(threading.enumerate()) <= threads_before


def check_topics(settings: Settings) -> None:
    admin.check_topics(settings, settings.topics)


def follow_alarms(settings: Settings) -> None:
    next(reading.follow(settings, [settings.topics.alarms.name], threading.Event()))


@pytest.mark.parametrize(("module", "ask"), [(admin, check_topics), (reading, follow_alarms)])
def test_who_finds_no_broker_is_told_so_and_leaves_no_thread(
    module: ModuleType, ask: Callable[[Settings], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A camera worker and the operator's page ask every few seconds while Kafka is away."""
    monkeypatch.setattr(module, "connection", lambda *given: connection(*given) | {"bootstrap_timeout_ms": 300})
    settings = Settings(kafka_bootstrap=f"127.0.0.1:{free_ports(1)[0]}")
    threads_before = set(threading.enumerate())
    with pytest.raises(KafkaUnavailableError, match="is KAFKA_BOOTSTRAP right"):
        ask(settings)
    assert not [thread for thread in set(threading.enumerate()) - threads_before if thread.is_alive()]
