"""A webhook's time-out is one for the whole exchange, however its peer spreads the answer."""

import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from alerting.plc_peers import LINE, secret_file

from workers.alerting.actuators.base import ActuatorError
from workers.alerting.actuators.config import WebhookConfig
from workers.alerting.actuators.webhook import WebhookActuator

pytestmark = pytest.mark.unit

TIMEOUT_S = 0.5

Dripping = Callable[[bytes, Sequence[bytes]], WebhookActuator]


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

    def opened(begin: bytes, pieces: Sequence[bytes]) -> WebhookActuator:
        threads.append(threading.Thread(target=drip, args=(begin, pieces)))
        threads[-1].start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/{LINE}"
        config = WebhookConfig(type="webhook", url=url, secret_file=secret_file(tmp_path), timeout_s=TIMEOUT_S)
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
    actuator = dripping(begin, pieces)
    began = time.monotonic()
    with pytest.raises(ActuatorError):
        actuator.read()
    assert time.monotonic() - began < TIMEOUT_S + 0.5
