"""Metrics and health of a process, as Prometheus and a supervisor ask for them."""

import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge
from support.waiting import wait_until

from pipeline.errors import AndonError
from workers.local.ports import LOOPBACK, free_ports
from workers.observing import Health, observe

pytestmark = pytest.mark.unit


@contextmanager
def observed(health: Health, host: str = LOOPBACK, ready: Health = lambda: None) -> Iterator[str]:
    registry = CollectorRegistry()
    Gauge("andon_answer", "of everything", registry=registry).set(42)
    Counter("andon_questions", "asked so far", registry=registry).inc()
    (port,) = free_ports(1)
    close = observe(registry, health, host, port, ready=ready)
    try:
        yield f"http://{f'[{host}]' if ':' in host else host}:{port}"
    finally:
        close()


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_a_well_process_says_so() -> None:
    with observed(lambda: None) as url:
        assert get(f"{url}/healthz") == (200, "well\n")


def test_an_ill_process_says_what_is_wrong() -> None:
    with observed(lambda: "the loop stands still") as url:
        assert get(f"{url}/healthz") == (503, "the loop stands still\n")


@pytest.mark.parametrize(("ill", "unready"), [(None, "no line yet"), ("it stands", None), ("it stands", "no line yet")])
def test_who_is_ill_or_not_at_work_yet_is_not_ready(ill: str | None, unready: str | None) -> None:
    with observed(lambda: ill, ready=lambda: unready) as url:
        assert get(f"{url}/readyz") == (503, f"{ill or unready}\n")
        assert get(f"{url}/healthz")[0] == (503 if ill else 200)


def test_who_is_well_and_at_work_is_ready() -> None:
    with observed(lambda: None) as url:
        assert get(f"{url}/readyz") == (200, "well\n")


def test_metrics_are_served_beside_health() -> None:
    with observed(lambda: "ill") as url:
        status, page = get(f"{url}/metrics")
    assert status == 200
    samples = [line for line in page.splitlines() if not line.startswith("#")]
    assert samples == ["andon_answer 42.0", "andon_questions_total 1.0"]  # and no moment at which each was created


@pytest.mark.parametrize("host", ["::1", "::"])
def test_it_listens_on_an_ipv6_address(host: str) -> None:
    if not socket.has_ipv6 or not Path("/proc/net/if_inet6").exists():
        pytest.skip("this machine has no IPv6")
    with observed(lambda: None, host) as url:
        assert get(f"{url}/healthz") == (200, "well\n")


@pytest.mark.parametrize("host", [LOOPBACK, "192.0.2.1", "no such host"])
def test_where_it_cannot_listen_is_told_in_a_sentence(host: str) -> None:
    with socket.create_server((LOOPBACK, 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            AndonError, match=f"can't listen on {host}, port {port}, for --metrics-port: .*ANDON_METRICS"
        ):
            observe(CollectorRegistry(), lambda: None, host, port)


def test_a_closed_port_can_be_used_again() -> None:
    registry = CollectorRegistry()
    (port,) = free_ports(1)
    for _ in range(2):
        observe(registry, lambda: None, LOOPBACK, port)()


def test_its_own_name_is_asked_of_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the DNS did not answer, alerting and each camera waited for it before they began their work."""
    monkeypatch.setattr(socket, "getfqdn", lambda *_: pytest.fail("the DNS was asked"))
    with observed(lambda: None) as url:
        assert get(f"{url}/healthz") == (200, "well\n")


def test_many_who_never_finish_their_request_keep_no_probe_out_and_hold_few_threads() -> None:
    with observed(lambda: None) as url, ExitStack() as held:
        before = threading.active_count()
        for _ in range(100):
            peer = held.enter_context(socket.create_connection((LOOPBACK, int(url.rsplit(":", 1)[1])), timeout=60))
            peer.sendall(b"GET /")
        assert get(f"{url}/healthz") == (200, "well\n")
        wait_until(lambda: threading.active_count() <= before + 20)
