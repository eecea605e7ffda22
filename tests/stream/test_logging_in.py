"""A client that stands goes over to a password that was changed."""

import socket
import socketserver
import struct
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from support.waiting import wait_until

from pipeline import settings
from pipeline.kafka.connection import connection
from pipeline.kafka.opening import open_producer
from pipeline.settings import Settings
from workers.local.ports import LOOPBACK

pytestmark = pytest.mark.unit

METADATA, HANDSHAKE, API_VERSIONS, AUTHENTICATE = 3, 17, 18, 36
NEWEST = {METADATA: 1, HANDSHAKE: 1, API_VERSIONS: 0, AUTHENTICATE: 1}


class Broker(socketserver.ThreadingTCPServer):
    """As much of one as a login takes. No change of a password at a real one can be told from the change of the file:
    whatever connects in between is refused."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__((LOOPBACK, 0), Peer)
        self.heard: list[tuple[int, bytes]] = []
        """The connection's number and the password, of each login."""
        self.connected: list[socket.socket] = []
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()


class Peer(socketserver.StreamRequestHandler):
    server: Broker

    def handle(self) -> None:
        self.server.connected.append(self.request)
        number = len(self.server.connected)
        while len(size := self.rfile.read(4)) == 4:
            asked = self.rfile.read(*struct.unpack(">i", size))
            key, version, correlation = struct.unpack(">hhi", asked[:8])
            answer = struct.pack(">i", correlation) + self._answer(number, key, version, asked)
            self.wfile.write(struct.pack(">i", len(answer)) + answer)

    def _answer(self, number: int, key: int, version: int, asked: bytes) -> bytes:
        if key == API_VERSIONS:
            known = b"".join(struct.pack(">hhh", one, 0, newest) for one, newest in NEWEST.items())
            return struct.pack(">hi", 35 if version else 0, len(NEWEST)) + known
        if key == HANDSHAKE:
            return struct.pack(">hi", 0, 1) + _text("PLAIN")
        if key == AUTHENTICATE:
            self.server.heard.append((number, asked.rsplit(b"\0", 1)[-1]))
            return struct.pack(">hhiq", 0, -1, 0, 1000)  # the login is good for a second
        assert key == METADATA
        port = self.server.server_address[1]
        return struct.pack(">ii", 1, 1) + _text(LOOPBACK) + struct.pack(">ihii", port, -1, 1, 0)


def _text(text: str) -> bytes:
    return struct.pack(">h", len(text)) + text.encode()


@pytest.fixture
def broker() -> Iterator[Broker]:
    with Broker() as found:
        yield found
        found.shutdown()


def test_a_client_that_stands_logs_in_by_the_password_of_the_moment(
    broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each alerting worker and replica ended at its next connection, be it weeks later."""
    monkeypatch.setattr(settings, "SECRETS_FOLDER", tmp_path)
    file = tmp_path / "KAFKA_SASL_PASSWORD"
    file.write_text("first")
    found = Settings(
        kafka_bootstrap=f"{LOOPBACK}:{broker.server_address[1]}",
        kafka_security_protocol="SASL_PLAINTEXT",
        kafka_sasl_mechanism="PLAIN",
        kafka_sasl_username="ada",
        kafka_sasl_password="first",
    )
    options = {"enable_idempotence": False, "metadata_max_age_ms": 200}  # it asks the broker again and again
    with closing(open_producer(**connection(found, "test"), **options)):
        wait_until(lambda: (2, b"first") in broker.heard)  # the first connection only tells who the brokers are
        file.write_text("second")
        wait_until(lambda: (2, b"second") in broker.heard)
        file.write_text("third")
        for connected in broker.connected:
            with suppress(OSError):
                connected.shutdown(socket.SHUT_RDWR)
        wait_until(lambda: broker.heard[-1] == (3, b"third"))
