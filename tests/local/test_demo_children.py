"""A process of the demo that gives up is named with its last words; the demo does not go on as if it were there."""

import sys
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.stream import wait_until

from workers.demo.demo import _check
from workers.local.errors import ServiceError
from workers.local.process import ChildProcess

pytestmark = pytest.mark.services


@pytest.mark.parametrize("name", ["plc", "alerting"])
def test_a_worker_that_ends_ends_the_demo_and_says_why(name: str, tmp_path: Path) -> None:
    inference = SimpleNamespace(running=True)
    with ExitStack() as ends:
        alive = ChildProcess(
            "cameras", [sys.executable, "-c", "import time; time.sleep(60)"], tmp_path / "a.log", tmp_path
        )
        ends.callback(alive.kill)
        dead = ChildProcess(name, [sys.executable, "-c", "exit('no port is free')"], tmp_path / "b.log", tmp_path)
        wait_until(lambda: not dead.running)
        with pytest.raises(ServiceError, match=rf"{name} ended with exit code 1(.|\n)*no port is free"):
            _check(alive, [alive, dead], inference)  # type: ignore[arg-type]
