"""A local server that does not come up says why; no child outlives its parent."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.waiting import wait_until, wait_until_gone

from workers.local.errors import ServiceError
from workers.local.ports import free_ports
from workers.local.process import ChildProcess
from workers.local.server import LocalServer

pytestmark = pytest.mark.services

SLEEPER = "import time; print('ready', flush=True); time.sleep(60)"
PARENT = f"""
import sys, time
from pathlib import Path
from workers.local.process import ChildProcess
child = ChildProcess("sleeper", [sys.executable, "-c", {SLEEPER!r}], Path("log"), Path())
while Path("log").stat().st_size == 0 and child.running:
    time.sleep(0.01)
print(child.pid, flush=True)
time.sleep(60)
"""


class _Scripted(LocalServer):
    """A server that is any Python program, and answers when told to."""

    name = "Scripted"
    _stop_grace_s = 0.3

    def __init__(self, program: str, folder: Path, answers: bool = False) -> None:
        super().__init__()
        self.log = folder / "log"
        self.port = free_ports(1)[0]
        self._program = program
        self._will_answer = answers

    def _launch(self) -> ChildProcess:
        return ChildProcess(self.name, [sys.executable, "-c", self._program], self.log, cwd=self.log.parent)

    def _answers(self, timeout_s: float) -> bool:
        return self._will_answer


def sleeper(folder: Path) -> ChildProcess:
    """A child that is known to have begun: what protects it is in force."""
    child = ChildProcess("sleeper", [sys.executable, "-c", SLEEPER], folder / "log", folder)
    wait_until(lambda: child.log.stat().st_size > 0)
    return child


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_one_that_ends_at_once_quotes_its_last_lines(tmp_path: Path) -> None:
    server = _Scripted("print('no room on the disk'); raise SystemExit(3)", tmp_path)
    with pytest.raises(ServiceError, match=r"(?s)exit code 3.*no room on the disk.*andon local clean"):
        server.start(timeout_s=60)


def test_where_the_disk_is_full_it_says_so_and_nobody_is_told_to_remove_the_data(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=20_000))
    with pytest.raises(ServiceError, match=f"The disk that holds {tmp_path} is full: make room") as caught:
        _Scripted("raise SystemExit(1)", tmp_path).start()
    assert "clean" not in str(caught.value)


def test_one_that_never_answers_is_ended_and_says_how_long_it_had(tmp_path: Path) -> None:
    server = _Scripted("import time; time.sleep(60)", tmp_path)
    with pytest.raises(ServiceError, match=r"did not answer within 0.2 s"):
        server.start(timeout_s=0.2)
    assert not server.running


def test_one_that_ignores_sigterm_is_killed_after_its_grace(tmp_path: Path) -> None:
    program = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
    server = _Scripted(program, tmp_path, answers=True)
    server.start()
    pid = server.pid
    server.stop()
    assert not server.running
    wait_until_gone(pid)


def test_a_paused_one_can_be_stopped(tmp_path: Path) -> None:
    server = _Scripted("import time; time.sleep(60)", tmp_path, answers=True)
    server.start()
    server.pause()
    assert server.paused
    server.stop()
    assert not server.running


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    server = _Scripted("import time; time.sleep(60)", tmp_path)
    with socket.create_server(("127.0.0.1", server.port)), pytest.raises(ServiceError, match=f"port {server.port}"):
        server.start()


def test_the_log_of_the_run_before_is_kept(tmp_path: Path) -> None:
    def run(text: str) -> None:
        child = ChildProcess("printer", [sys.executable, "-c", f"print({text!r})"], tmp_path / "log", tmp_path)
        wait_until(lambda: not child.running)

    run("first")
    run("second")
    assert (tmp_path / "log").read_text() == "second\n"
    assert (tmp_path / "log.previous").read_text() == "first\n"


def test_a_child_outlives_the_thread_that_asked_for_it(tmp_path: Path) -> None:
    started: list[ChildProcess] = []
    thread = threading.Thread(target=lambda: started.append(sleeper(tmp_path)))
    thread.start()
    thread.join()
    time.sleep(0.3)
    assert started[0].running
    started[0].kill()


def test_a_child_has_a_process_group_of_its_own(tmp_path: Path) -> None:
    child = sleeper(tmp_path)
    assert os.getpgid(child.pid) == child.pid
    child.kill()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent was killed")
def test_a_killed_parent_takes_its_child_along(tmp_path: Path) -> None:
    root = str(Path(__file__).parents[2])
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT], cwd=tmp_path, env=os.environ | {"PYTHONPATH": root}, stdout=subprocess.PIPE
    )
    assert parent.stdout is not None
    child_pid = int(parent.stdout.readline())
    assert is_alive(child_pid)
    parent.send_signal(signal.SIGKILL)
    parent.communicate(timeout=60)
    wait_until_gone(child_pid)
