"""The reference gateway answers whatever it is sent, for people try their own gateways against it."""

import http.client
import json
import time
from collections.abc import Iterator

import pytest
from alerting.plc_peers import LINE

from workers.alerting.actuators.webhook import sign
from workers.local.ports import free_ports
from workers.plc.ladder import Inputs, Ladder
from workers.plc.message_sides import WebhookGateway, answer

pytestmark = pytest.mark.unit


@pytest.fixture
def port() -> Iterator[int]:
    (port,) = free_ports(1)
    gateway = WebhookGateway({LINE: Ladder(LINE)}, "127.0.0.1", port, b"secret")
    yield port
    gateway.stop()


def post(port: int, body: bytes, **headers: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    signature = sign(body, b"secret", int(time.time()))
    connection.putrequest("POST", f"/{LINE}")
    for name, value in {"Content-Length": str(len(body)), "Andon-Signature": signature, **headers}.items():
        connection.putheader(name, value)
    connection.endheaders(body)
    status = connection.getresponse().status
    connection.close()
    return status


@pytest.mark.parametrize("body", [b"no json", b"[]", b'{"ask": 1, "desired": {"level": "FASTER"}}', b"{}"])
def test_a_message_that_says_nothing_is_refused_with_a_status(port: int, body: bytes) -> None:
    """It ended the handler with a trace, and the sender heard nothing."""
    assert post(port, body) == 400
    assert post(port, json.dumps({"ask": "a"}).encode()) == 200


@pytest.mark.parametrize("length", ["many", "-1"])
def test_a_body_of_no_length_is_refused_with_a_status(port: int, length: str) -> None:
    assert post(port, b"{}", **{"Content-Length": length}) == 411


def test_a_word_that_is_no_level_is_told_as_it_stands() -> None:
    """As a client of OPC UA or Modbus may have written it: each question ended without an answer from then on."""
    ladder = Ladder(LINE)
    ladder.write(Inputs(command=7))
    assert answer(ladder, {"ask": "a"}, ladder.wire)["level"] == "?7"
