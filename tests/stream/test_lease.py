import threading

import pytest

from pipeline.kafka import lease as module
from pipeline.kafka.lease import Lease

pytestmark = pytest.mark.unit


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    at = [100.0]
    monkeypatch.setattr(module, "boot_time_s", lambda: at[0])
    return at


def test_it_counts_from_before_the_request_and_ends_before_the_session(clock: list[float]) -> None:
    lease = Lease(session_timeout_s=10)
    assert not lease.held
    lease.renew(asked_at_s=98)
    clock[0] = 104.9
    assert lease.held
    clock[0] = 105.1  # 7 s after the request, 3 s before the broker gives the partitions away
    assert not lease.held


def test_it_is_due_long_before_it_ends(clock: list[float]) -> None:
    lease = Lease(session_timeout_s=10)
    assert lease.due
    lease.renew(100)
    assert not lease.due
    clock[0] = 102
    assert lease.due
    assert lease.held


def test_dropped_it_is_over_at_once_and_waits_for_what_is_under_way(clock: list[float]) -> None:
    lease = Lease(session_timeout_s=10)
    lease.renew(100)
    begun, finish, ended = threading.Event(), threading.Event(), []

    def write() -> None:
        with lease.use():
            begun.set()
            finish.wait(5)
            ended.append("write")

    thread = threading.Thread(target=write)
    thread.start()
    assert begun.wait(5)
    threading.Timer(0.1, finish.set).start()
    lease.drop(wait_s=5)
    ended.append("drop")
    thread.join(5)
    assert not lease.held
    assert ended == ["write", "drop"]


def test_a_write_that_hangs_does_not_hold_up_the_loop(clock: list[float]) -> None:
    lease = Lease(session_timeout_s=10)
    lease.renew(100)
    with lease.use():
        lease.drop(wait_s=0.01)
    assert not lease.held
