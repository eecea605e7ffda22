"""One broker that hangs keeps nobody from the others."""

import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pipeline.kafka.mends import bootstrapping
from pipeline.kafka.opening import open_admin_client, open_consumer, open_producer

pytestmark = pytest.mark.services


@pytest.fixture
def hung() -> Iterator[str]:
    """The address of one that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("connect", [open_admin_client, open_consumer, open_producer])
def test_a_broker_that_hangs_keeps_no_client_from_the_others(
    connect: Callable[..., object], hung: str, kafka_bootstrap: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every third client found no broker of three while one hung, and nearly every audit."""

    def the_hung_one_first(brokers: list[Any]) -> Any:
        return next((broker for broker in brokers if hung.endswith(f":{broker.port}")), brokers[0])

    monkeypatch.setattr(bootstrapping, "FIRST_WITHIN_MS", 300)
    monkeypatch.setattr("kafka.net.manager.random.choice", the_hung_one_first)
    client = connect(bootstrap_servers=[hung, *kafka_bootstrap.split(",")], bootstrap_timeout_ms=8_000)
    client.close()  # type: ignore[attr-defined]
