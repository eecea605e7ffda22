"""A PLC that is known by a name: the look-up is bounded like everything else that its line waits for."""

import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alerting.plc_peers import LINE, PATIENT_S, PROTOCOLS, config, wait_for
from alerting.test_driver import driven, order, stop_command

from pipeline.events import Action, Outcome
from workers.alerting.actuators.base import ActuatorError, Image, matches
from workers.alerting.actuators.config import ActuatorConfig
from workers.alerting.actuators.names import Name
from workers.alerting.actuators.open import open_actuator
from workers.alerting.core.reports import Answer, Link
from workers.local.ports import free_ports
from workers.plc.ladder import Ladder
from workers.plc.station import Station

pytestmark = pytest.mark.services
HUNG_S = 60


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Hangs over every name below .plant, as one does whose name server is away. The names that it was asked for."""
    asked: list[str] = []
    over = threading.Event()
    ask = socket.getaddrinfo

    def hanging(host: Any, *args: Any, **named: Any) -> Any:
        if not str(host).endswith(".plant"):
            return ask(host, *args, **named)
        asked.append(str(host))
        over.wait(HUNG_S)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", hanging)
    yield asked
    over.set()


def named(protocol: str, folder: Path, host: str, port: int = 1, timeout_s: float = 0.3) -> ActuatorConfig:
    known = config(protocol, port, folder, timeout_s)
    place = {"url": getattr(known, "url", "").replace("127.0.0.1", host)}
    return known.model_copy(update=place if place["url"] else {"host": host})


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_name_server_that_hangs_is_told_of_as_soon_as_a_plc_that_does(
    protocol: str, resolver: list[str], tmp_path: Path
) -> None:
    """With a resolver that gave up after 20 s, the stop was answered 10 s after it had expired, and that the PLC could
    not be worked with was told after a minute; "nothing answers there" was the reason."""
    with driven(open_actuator(LINE, named(protocol, tmp_path, "press.plant")), 0.1) as (driver, told):
        driver.order(order(stop_command(valid_s=2)))
        wait_for(lambda: any(isinstance(one, Link) for one in told), "the link's fault")
        wait_for(lambda: any(isinstance(one, Answer) for one in told), "the answer")
    answers = [one for one in told if isinstance(one, Answer)]
    assert [one.outcome for one in answers] == [Outcome.REJECTED]
    if protocol != "opcua":  # its library waits by itself
        assert "press.plant was not found in 0.3 s: does the name server (DNS) answer?" in answers[0].detail
        assert len(resolver) == 1  # one look-up at a time, however often it is tried


def test_a_name_that_is_unknown_is_said_to_be() -> None:
    with pytest.raises(ActuatorError, match=r"the name press\.invalid can't be found"):
        Name("press.invalid").addresses(60)


def test_a_plc_is_reached_by_its_name(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    ladder = Ladder(LINE)
    with Station([ladder], modbus_port=port):
        actuator = open_actuator(LINE, named("modbus", tmp_path, "localhost", port, PATIENT_S))
        hold = Image(epoch=7, heartbeat=7, action=Action.HOLD, run_permit=False)
        assert matches(hold, actuator.exchange(hold, lambda: None))
        actuator.close()
    assert ladder.stops == 1


@pytest.mark.parametrize("protocol", ["mqtt", "webhook"])
def test_a_name_is_looked_up_once_for_a_connection(
    protocol: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What was found in time was looked up again by the library, without a bound."""
    asked: list[Any] = []
    ask = socket.getaddrinfo

    def counting(host: Any, *args: Any, **options: Any) -> Any:
        asked.append(host)
        return ask(host, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", counting)
    actuator = open_actuator(LINE, named(protocol, tmp_path, "localhost"))
    with pytest.raises(ActuatorError):  # nothing listens there
        actuator.read()
    actuator.close()
    assert asked.count("localhost") == 1
