"""A webhook's time-out is one for the whole exchange, however its peer spreads the answer; and whose clock signs."""

import itertools
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from alerting.plc_peers import LINE, config, secret_file, wait_for
from support.certificates import Signed, signed, written

from pipeline.boot_time import boot_time_s
from pipeline.events import now
from pipeline.kafka.lease import Lease
from workers.alerting.actuators.base import ActuatorError
from workers.alerting.actuators.config import WebhookConfig
from workers.alerting.actuators.webhook import WebhookActuator
from workers.alerting.core.reports import Link, Report
from workers.alerting.core.state import LineState
from workers.alerting.plcs.plant import Plant
from workers.alerting.policy import LinePolicy, OnLoss, Policies, Response
from workers.local.ports import free_ports
from workers.plc.ladder import Ladder
from workers.plc.message_sides import WebhookGateway

pytestmark = pytest.mark.unit


Dripping = Callable[..., WebhookActuator]


@pytest.fixture
def dripping(tmp_path: Path) -> Iterator[Dripping]:
    """An actuator whose peer answers with some bytes at once, and then with a piece every 50 ms without end."""
    stop = threading.Event()
    server = socket.create_server(("127.0.0.1", 0))
    threads = []

    def drip(begin: bytes, pieces: Sequence[bytes]) -> None:
        with suppress(OSError):
            peer, _ = server.accept()
            with peer:
                peer.recv(65536)
                peer.sendall(begin)
                for piece in itertools.cycle(pieces):
                    if stop.wait(0.05):
                        return
                    peer.sendall(piece)

    def opened(begin: bytes, pieces: Sequence[bytes], timeout_s: float = 0.5) -> WebhookActuator:
        threads.append(threading.Thread(target=drip, args=(begin, pieces)))
        threads[-1].start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/{LINE}"
        config = WebhookConfig(type="webhook", url=url, secret_file=secret_file(tmp_path), timeout_s=timeout_s)
        return WebhookActuator(LINE, config)

    yield opened
    stop.set()
    server.close()
    for thread in threads:
        thread.join(5)


@pytest.mark.parametrize(
    ("begin", "pieces"),
    [
        (b"HTTP/1.1 ", [b"2"]),
        (b"HTTP/1.1 200 OK\r\nX: ", [b"a"]),
        (b"", [b"HTTP/1.1 100 Continue\r\n\r\n"]),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n", [b"a"]),
        (b"HTTP/1.0 200 OK\r\n\r\n", [b"a"]),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", [b"1", b"\r", b"\n", b"a", b"\r", b"\n"]),
    ],
    ids=["status", "headers", "continue", "body", "body up to the end", "chunks"],
)
def test_an_answer_that_drips_is_given_up_in_time(begin: bytes, pieces: list[bytes], dripping: Dripping) -> None:
    with pytest.raises(ActuatorError):
        dripping(begin, pieces).read()


@pytest.mark.parametrize(
    ("begin", "pieces", "told"),
    [
        (b"HTTP/1.1 500 Broken\r\n\r\n", [b"x" * 65536], "answered 500 Broken"),
        (b"HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n", [b"1\r\na\r\n"], "answered 503 Busy"),
        (
            b"HTTP/1.1 308 Moved\r\nLocation: https://gw/a?token=geheim\r\n\r\n",
            [b"<html>"],
            "answered 308 Moved and leads to https://gw/a, where no stop is sent unless `url` in the policy says so",
        ),
    ],
    ids=["huge", "without end", "redirect"],
)
def test_a_refusal_is_told_as_what_it_is_whatever_its_body(
    begin: bytes, pieces: list[bytes], told: str, dripping: Dripping
) -> None:
    """Of a gateway that answered 500 with its stack on a long page one heard that it answered more than 65536 bytes."""
    with pytest.raises(ActuatorError) as error:
        dripping(begin, pieces, 10).read()
    assert str(error.value) == told


def test_a_signature_has_the_time_that_alerting_goes_by_and_a_refusal_tells_of_a_gateway_with_another(
    tmp_path: Path,
) -> None:
    """A worker whose own clock was an hour behind went by the broker's, and signed by its own: of four protocols this
    one alone stopped no line, with '401 Unauthorized' as the only word."""
    (port,) = free_ports(1)
    line = LinePolicy(k=3, n=5, action=Response.HOLD, actuator=config("webhook", port, tmp_path), on_loss=OnLoss.HOLD)
    lease, told = Lease(60), list[Report]()
    lease.renew(boot_time_s())
    gateway = WebhookGateway({LINE: Ladder(LINE)}, "127.0.0.1", port, secret_file(tmp_path).read_bytes())
    policies = Policies(defaults=LinePolicy(k=3, n=5, action=Response.HOLD), lines={LINE: line})
    plant = Plant(policies, lease, clock=lambda: now() - timedelta(hours=1))
    try:
        plant.hold_only([LINE])
        plant.order(LineState(line_id=LINE, epoch=1))
        plant.alive(LINE, True, 60)
        wait_for(lambda: bool(told.extend(plant.reports([LINE])) or told), "a report")
    finally:
        plant.close()
        gateway.stop()
    (link, *_) = told
    assert isinstance(link, Link)
    assert not link.up
    assert re.search(r"answered 401 Unauthorized; its clock is \d{4} s ahead of ours$", link.detail)


def test_a_gateway_is_believed_by_its_authority_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The plant's own, as docs/plc.md says it is named."""
    (port,), authority = free_ports(1), signed()
    gateway = WebhookGateway({LINE: Ladder(LINE)}, "127.0.0.1", port, secret_file(tmp_path).read_bytes())
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*written(tmp_path, "gateway", signed(authority)))
    gateway._server.socket = tls.wrap_socket(gateway._server.socket, server_side=True)

    def believing(whom: Signed) -> WebhookActuator:
        file, _ = written(tmp_path, "authority", whom)
        monkeypatch.setenv("SSL_CERT_FILE", str(file))
        url = f"https://127.0.0.1:{port}/{LINE}"
        return WebhookActuator(LINE, WebhookConfig(type="webhook", url=url, secret_file=secret_file(tmp_path)))

    try:
        assert believing(authority).read().stop is False
        with pytest.raises(ActuatorError, match="certificate verify failed"):
            believing(signed()).read()
    finally:
        gateway.stop()
