"""What the environment names is used, what is missing is started, and what was started is stopped."""

from pathlib import Path

import pytest

from pipeline.kafka.probe import broker_answers
from workers.local import services as module
from workers.local.data_folder import DataFolder
from workers.local.errors import ServiceError
from workers.local.kafka_broker import KafkaBroker
from workers.local.ports import free_ports
from workers.local.services import services
from workers.local.valkey import Valkey

pytestmark = pytest.mark.services


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ANSWER_TIMEOUT_S", 0.5)
    monkeypatch.delenv("KAFKA_BOOTSTRAP", raising=False)
    monkeypatch.delenv("REDIS_URL", raising=False)


def nobody() -> str:
    return f"127.0.0.1:{free_ports(1)[0]}"


def test_named_services_are_used_and_nothing_is_made(
    kafka_bootstrap: str, own_redis: Valkey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_ANSWER_TIMEOUT_S", 60)
    monkeypatch.setenv("KAFKA_BOOTSTRAP", kafka_bootstrap)
    monkeypatch.setenv("REDIS_URL", own_redis.url)
    with services(tmp_path / "home") as running:
        assert running.environment == {"KAFKA_BOOTSTRAP": kafka_bootstrap, "REDIS_URL": own_redis.url}
        assert running.broker is None
        assert running.valkey is None
    assert broker_answers(kafka_bootstrap, 60)
    assert own_redis.running
    assert not (tmp_path / "home").exists()


def test_a_named_broker_that_is_away_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    address = nobody()
    monkeypatch.setenv("KAFKA_BOOTSTRAP", address)
    with pytest.raises(ServiceError, match=f"KAFKA_BOOTSTRAP={address}: no Kafka broker answers"), services(tmp_path):
        pytest.fail("never reached")


def test_a_named_redis_that_is_away_is_an_error_without_its_password(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    address = nobody()
    for login, query, shown in (("me:secret@", "", "…@{}/0"), ("", "?password=secret", "{}/0?…")):
        monkeypatch.setenv("REDIS_URL", f"redis://{login}{address}/0{query}")
        with pytest.raises(ServiceError) as caught, services(tmp_path):
            pytest.fail("never reached")
        assert f"REDIS_URL=redis://{shown.format(address)}: no Redis answers" in str(caught.value)
        assert "secret" not in str(caught.value)


def test_an_address_that_is_none_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("REDIS_URL", "localhost:6379")
    with pytest.raises(ServiceError, match="REDIS_URL: begin it with redis:"), services(tmp_path):
        pytest.fail("never reached")


def test_a_failure_inside_stops_what_was_started(
    kafka_bootstrap: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(module, "_ANSWER_TIMEOUT_S", 60)
    monkeypatch.setenv("KAFKA_BOOTSTRAP", kafka_bootstrap)
    started: list[Valkey | None] = []

    def fail() -> None:
        with services(tmp_path / "home") as running:
            started.append(running.valkey)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert started[0] is not None
    assert not started[0].running
    assert DataFolder(tmp_path / "home").running_services() is None


def test_a_broker_that_does_not_start_takes_valkey_along(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen: list[Valkey] = []
    launch = Valkey.launch

    def remember(valkey: Valkey) -> None:
        seen.append(valkey)
        launch(valkey)

    monkeypatch.setattr(Valkey, "launch", remember)

    def refuse(*_: object) -> None:
        raise ServiceError("no room")

    monkeypatch.setattr(KafkaBroker, "launch", refuse)
    with pytest.raises(ServiceError, match="no room"), services(tmp_path / "home"):
        pytest.fail("never reached")
    assert not seen[0].running
