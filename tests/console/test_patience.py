"""Who says nothing, or takes nothing, does not keep a place that others need."""

import socket
import ssl
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from console.conftest import ConsoleProcess
from console.serving import served
from support.certificates import signed, written
from support.waiting import wait_until

from workers.console import patience
from workers.console.patience import Patience

PIECE = b"x" * 65536


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Reads a request to its end; answers with more than any buffer on the way holds."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    if scope["path"] == "/known":
        scope["state"]["identity"] = "somebody"  # as the guard does
    if scope["path"] == "/hold":
        time.sleep(0.5)  # holds everybody up: who comes meanwhile comes in one turn
    pieces = int(scope["query_string"] or 1)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for left in reversed(range(pieces)):
        await send({"type": "http.response.body", "body": PIECE, "more_body": left > 0})


def config(**more: Any) -> uvicorn.Config:
    return uvicorn.Config(app, port=0, http=Patience, log_level="error", ws="none", lifespan="off", **more)


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(patience, "REQUEST_S", 0.6)
    monkeypatch.setattr(patience, "STANDSTILL_S", 0.6)
    with served(config()) as port:
        yield port


@pytest.mark.unit
def test_the_page_answers_by_its_own_tls_too(tmp_path: Path) -> None:
    """Its buffer was taken for full when it was empty, so that nothing ever left it."""
    certificate, key = written(tmp_path, "page", signed())
    patient = config(ssl_certfile=certificate, ssl_keyfile=key)
    with served(patient) as port:
        trust = ssl.create_default_context(cafile=str(certificate))
        with urllib.request.urlopen(f"https://127.0.0.1:{port}/?3", timeout=30, context=trust) as answer:
            assert answer.read() == 3 * PIECE


def wait_for_the_end(peer: socket.socket, drip: bytes = b"") -> None:
    """Sends one byte of `drip` after the other meanwhile."""
    peer.settimeout(0.1)

    def ended() -> bool:
        nonlocal drip
        try:
            if drip:
                peer.send(drip[:1])
                drip = drip[1:]
            return not peer.recv(1024)
        except TimeoutError:
            return False
        except OSError:
            return True

    wait_until(ended)


@pytest.mark.unit
@pytest.mark.parametrize(
    ("said", "drip"),
    [
        (b"", b""),
        (b"GET / HTTP/1.1\r\nHost: a\r\n", b""),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ", b"a" * 100),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999\r\n\r\n", b"a" * 100),
    ],
    ids=["nothing", "half a header", "a dripping header", "a dripping body"],
)
def test_half_a_request_is_not_waited_for(port: int, said: bytes, drip: bytes) -> None:
    begun = time.monotonic()
    with socket.create_connection(("127.0.0.1", port)) as peer:
        peer.sendall(said)
        wait_for_the_end(peer, drip)
    assert time.monotonic() - begun >= patience.REQUEST_S  # and not before


@pytest.mark.unit
@pytest.mark.parametrize(
    "before",
    [b"", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"GET /?4000 HTTP/1.1\r\nHost: a\r\n\r\n"],
    ids=["at once", "after an answer", "beside an answer that nobody takes"],
)
def test_a_header_without_end_is_not_taken_in(port: int, monkeypatch: pytest.MonkeyPatch, before: bytes) -> None:
    """Each such peer took as much of the memory as it could send in `REQUEST_S`."""
    monkeypatch.setattr(patience, "REQUEST_S", 600)
    monkeypatch.setattr(patience, "STANDSTILL_S", 600)
    with socket.create_connection(("127.0.0.1", port), timeout=60) as peer:
        peer.sendall(before)
        with pytest.raises(ConnectionError):
            peer.sendall(b"GET / HTTP/1.1\r\nX: " + 200 * PIECE)


@pytest.mark.unit
def test_an_answer_that_nobody_takes_is_given_up(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    given_up, lost = threading.Event(), Patience.connection_lost

    def tell(peer: Patience, error: Exception | None) -> None:
        lost(peer, error)
        given_up.set()

    monkeypatch.setattr(Patience, "connection_lost", tell)
    with socket.create_connection(("127.0.0.1", port)) as peer:
        peer.sendall(b"GET /?4000 HTTP/1.1\r\nHost: a\r\n\r\n")
        assert given_up.wait(60)


@pytest.mark.unit
def test_strangers_keep_nobody_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """500 connections without a login, and who was logged in got no page."""
    monkeypatch.setattr(patience, "MOST_STRANGERS", 4)
    monkeypatch.setattr(patience, "REQUEST_S", 600)
    patient = config(limit_concurrency=10, timeout_keep_alive=600)

    def answered(peer: socket.socket, path: str) -> bool:
        peer.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        return read(peer)

    def read(peer: socket.socket) -> bool:
        found = b""
        while not found.endswith(b"\r\n0\r\n\r\n") and (piece := peer.recv(1 << 20)):
            found += piece
        return found.startswith(b"HTTP/1.1 200")

    with served(patient) as port, ExitStack() as open_:

        def newcomer() -> socket.socket:
            return open_.enter_context(socket.create_connection(("127.0.0.1", port), timeout=60))

        within = [newcomer() for _ in range(3)]
        assert all(answered(peer, "/known") for peer in within)
        within[0].sendall(b"GET /hold HTTP/1.1\r\nHost: a\r\n\r\n")
        strangers = [newcomer() for _ in range(12)]
        assert read(within[0])
        assert [peer.recv(1) for peer in strangers[:8]] == [b""] * 8  # gone for those who came later
        assert answered(newcomer(), "/")
        assert all(answered(peer, "/") for peer in strangers[9:])
        assert all(answered(peer, "/known") for peer in within)


@pytest.mark.unit
def test_who_is_slow_and_goes_on_is_waited_for(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for limit in ("REQUEST_S", "STANDSTILL_S"):  # shorter than an answer takes here
        monkeypatch.setattr(patience, limit, 2)
    wait_until(lambda: has_two_answers(port), what="an attempt in which a busy machine stands still for no two seconds")


def has_two_answers(port: int) -> bool:
    """Whether who takes them slowly gets both whole, on one connection."""
    with suppress(ConnectionError, TimeoutError), socket.create_connection(("127.0.0.1", port), timeout=60) as peer:
        for _ in range(2):
            for part in (b"GET /?200 HTTP/1.1\r\n", b"Host: a\r\n", b"\r\n"):
                time.sleep(0.1)
                peer.sendall(part)
            left = 200 * len(PIECE)
            while left > 0:
                piece = peer.recv(1 << 19)
                if not piece:
                    return False
                left -= len(piece)
                time.sleep(0.1)
            peer.settimeout(0.2)
            with suppress(TimeoutError):
                while peer.recv(1 << 16):  # what stands around the pieces
                    pass
            peer.settimeout(60)
        return True
    return False


@pytest.mark.services
def test_the_page_lets_a_silent_peer_go(console: ConsoleProcess) -> None:
    with socket.create_connection(("127.0.0.1", console.port)) as peer:
        wait_for_the_end(peer)
