"""What the page tells Prometheus, over HTTP."""

import socket
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from console.test_guard import desk_at

from pipeline.errors import AndonError
from workers.console.gauges import Backlog, Gauges
from workers.console.metrics import exporting
from workers.local.ports import LOOPBACK, free_ports

pytestmark = pytest.mark.unit


def samples(port: int) -> dict[str, float]:
    with urllib.request.urlopen(f"http://{LOOPBACK}:{port}/metrics", timeout=60) as answer:
        lines = answer.read().decode().splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))}


def test_a_page_that_reads_nothing_says_so_and_tells_the_brokers_backlog(tmp_path: Path) -> None:
    desk = desk_at(tmp_path)  # its reader was never started
    desk.gauges.now = Gauges(Backlog(waiting=7), Backlog(waiting=2))
    (port,) = free_ports(1)
    with exporting(desk, LOOPBACK, port):
        found = samples(port)
        assert found["andon_console_reading"] == 0
        assert found['andon_console_waiting{group="andon-inspection"}'] == 7
        assert found['andon_console_waiting{group="andon-alerting"}'] == 2
        assert found["andon_console_browsers"] == 0
        assert found["andon_console_feedback_bytes"] > 0
        with pytest.raises(urllib.error.HTTPError, match="503") as told:
            urllib.request.urlopen(f"http://{LOOPBACK}:{port}/healthz", timeout=60)
        assert "the reading thread is dead" in told.value.read().decode()
        desk.gauges.now = Gauges(Backlog(waiting=7), Backlog(waiting=2), fault="Kafka is away")
        assert not any("waiting" in name for name in samples(port))


def test_a_port_is_for_one_page_until_it_ends(tmp_path: Path) -> None:
    desk, (port,) = desk_at(tmp_path), free_ports(1)
    with exporting(desk, LOOPBACK, port):
        with pytest.raises(AndonError, match="--metrics-port"), exporting(desk, LOOPBACK, port):
            pass
        samples(port)
    with pytest.raises(OSError, match="refused"):
        samples(port)


@pytest.mark.parametrize("wanted", [True, False])
def test_without_a_port_nothing_listens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wanted: bool) -> None:
    listening: list[int] = []

    class Seen(socket.socket):
        def listen(self, *backlog: int) -> None:
            super().listen(*backlog)
            listening.append(self.getsockname()[1])

    (port,) = free_ports(1)
    monkeypatch.setattr(socket, "socket", Seen)
    with exporting(desk_at(tmp_path), LOOPBACK, port if wanted else None):
        assert listening == ([port] if wanted else [])
