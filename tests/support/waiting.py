"""Waits for what is to become true, and names what did not."""

import time
from collections.abc import Callable
from pathlib import Path


def wait_until(true: Callable[[], bool], timeout_s: float = 90, what: str = "this") -> None:
    """Rests twice as long as a look took: looks into Kafka, one after the other, hold up whom they wait for."""
    deadline, looked_at = time.monotonic() + timeout_s, time.monotonic()
    while not true():
        assert time.monotonic() < deadline, f"{what} not within {timeout_s:g} s"
        time.sleep(min(0.5, max(0.05, 2 * (time.monotonic() - looked_at))))
        looked_at = time.monotonic()


def wait_until_gone(*pids: int, timeout_s: float = 30) -> None:
    alive = [Path(f"/proc/{pid}") for pid in pids]
    wait_until(lambda: not any(path.exists() for path in alive), timeout_s, f"the end of the processes {pids}")
