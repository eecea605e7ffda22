"""A terminal that is closed ends what runs in it, in good order; what was begun to outlive it goes on."""

import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from alerting.running import ANDON, POLICY_YAML, process

from pipeline.settings import Settings
from workers.local.ports import free_ports


@pytest.mark.services
def test_a_closed_terminal_ends_a_worker_in_good_order(settings: Settings, tmp_path: Path) -> None:
    """It ended as by a kill, and its lines were watched by nobody for the rest of its session."""
    policies = tmp_path / "policies.yaml"
    policies.write_text(POLICY_YAML)
    with process([*ANDON, "alerting", "run", "--policies", str(policies)], settings) as running:
        assert running.stdout
        assert any("took over" in line for line in running.stdout)
        running.send_signal(signal.SIGHUP)
        running.communicate(timeout=60)
    assert running.returncode == 0


@pytest.mark.services
def test_a_closed_terminal_ends_the_page_in_good_order(settings: Settings, tmp_path: Path) -> None:
    command = [*ANDON, "console", "--port", str(free_ports(1)[0]), "--data", str(tmp_path)]
    with process(command, settings) as running:
        assert running.stdout
        assert any("the page is at" in line for line in running.stdout)
        running.send_signal(signal.SIGHUP)
        running.communicate(timeout=60)
    assert running.returncode == 0


@pytest.mark.unit
def test_ctrl_c_ends_a_page_that_takes_long_to_close(monkeypatch: pytest.MonkeyPatch) -> None:
    """It did nothing any more. What a supervisor, or a terminal that closes, says twice still makes no kill of it."""
    import uvicorn

    from workers.console.serve import _Server

    server, before = _Server(uvicorn.Config(""), lambda: None), signal.default_int_handler
    handlers: dict[int, Any] = {}

    def set_handler(number: int, handler: Any) -> Any:
        handlers[number] = handler
        return before

    monkeypatch.setattr(signal, "signal", set_handler)
    with server.capture_signals():
        assert set(handlers.values()) == {server.handle_exit}
    assert handlers.pop(signal.SIGINT) is before
    assert set(handlers.values()) == {server.handle_exit}


@pytest.mark.services
def test_what_nohup_begins_outlives_its_terminal(
    settings: Settings, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", redis_url)
    with process(["nohup", *ANDON, "local", "up", "--home", str(tmp_path / "home")], settings) as running:
        assert running.stdout
        assert any("running until" in line for line in running.stdout)
        running.send_signal(signal.SIGHUP)
        with pytest.raises(subprocess.TimeoutExpired):
            running.wait(3)
        running.terminate()
        running.communicate(timeout=60)
    assert running.returncode == 0
