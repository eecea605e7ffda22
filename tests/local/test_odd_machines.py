"""A user without a home, a proxy that knows nothing of this machine."""

from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace

import pytest

from workers.local.home_token import token_for_this_run
from workers.local.inference import Inference
from workers.local.kafka_jars import kafka_classpath
from workers.local.services import ServiceError

NO_HOME = "/proc/nobody-writes-here"


class _Healthy(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


@pytest.mark.services
def test_a_company_proxy_is_not_asked_for_the_replica_of_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    inference = Inference(tmp_path, tmp_path / "serve.log", {})
    with HTTPServer(("127.0.0.1", inference.port), _Healthy) as server:
        Thread(target=server.handle_request, daemon=True).start()
        assert inference._answers(5.0)


@pytest.mark.unit
def test_ray_has_a_token_where_the_user_has_no_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert token_for_this_run() == {}, "Ray keeps one there"
    monkeypatch.setenv("HOME", NO_HOME)
    assert len(token_for_this_run()["RAY_AUTH_TOKEN"]) == 64
    monkeypatch.setenv("RAY_AUTH_TOKEN", "given")
    assert token_for_this_run() == {}


@pytest.mark.unit
def test_a_user_without_any_home_is_told_what_to_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """No HOME and no entry in /etc/passwd: a trace of pathlib's."""
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", _nobody)
    with pytest.raises(ServiceError, match=r"no home folder.*name a folder in HOME"):
        kafka_classpath(lambda _: None)


def _nobody(uid: int) -> None:
    raise KeyError(f"getpwuid(): uid not found: {uid}")


@pytest.mark.unit
def test_a_full_folder_for_temporary_files_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray said 'timed out during startup', and we advised to free memory."""
    room = {str(tmp_path): 2**30, "/small": 2**16}
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=room[str(folder)]))
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setenv("TMPDIR", "/small")
    assert "that holds /small is full" in Inference(tmp_path, tmp_path / "serve.log", {}).full_disk


@pytest.mark.unit
def test_jars_that_can_be_kept_nowhere_are_told_of_with_a_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", NO_HOME)
    monkeypatch.delenv("M2_REPO", raising=False)
    with pytest.raises(ServiceError, match=r"cannot be written .*name a folder that can be in M2_REPO"):
        kafka_classpath(lambda _: None)
