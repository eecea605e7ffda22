"""An act that reaches a page's server before that has read of its line, as after a restart in its midst."""

import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from console.plant import score
from console.test_guard import desk_at, log_in, token
from console.test_memory import tell
from fastapi.testclient import TestClient

from workers.console.app import create_app
from workers.console.desk import Desk
from workers.console.pages import acts

pytestmark = pytest.mark.unit
ACT = "/lines/press-1/acts/acknowledge"


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """Its acts go nowhere: Kafka is away."""
    made = desk_at(tmp_path)
    monkeypatch.setattr(made.acts, "ask", lambda *_, **__: None)
    monkeypatch.setattr(made.acts, "await_outcome", lambda *_: None)
    return made


@pytest.fixture
def client(desk: Desk) -> Iterator[TestClient]:
    with TestClient(create_app(desk), follow_redirects=False) as made:
        log_in(made, "operator")
        yield made


def acknowledge(client: TestClient) -> Any:
    form = {"csrf": token(client, ACT), "operation_id": str(uuid.uuid4()), "shown_ms": "0", "reason": "seen"}
    return client.post(ACT, data=form)


def test_it_waits_for_what_is_still_being_read(desk: Desk, client: TestClient) -> None:
    """It was told that there is no such line, and what was typed was lost."""
    reading = threading.Timer(0.5, tell, (desk.memory, score(0, line_id="press-1")))
    reading.start()
    answer = acknowledge(client)
    reading.join()
    assert answer.status_code == 303


def test_it_is_told_that_nothing_was_read_yet(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acts, "READ_S", 0.2)
    answer = acknowledge(client)
    assert answer.status_code == 503
    assert "Nothing was read of line press-1 yet" in answer.text


def test_a_line_that_is_not_in_what_was_read_is_none(desk: Desk, client: TestClient) -> None:
    desk.reader.fault = None
    answer = acknowledge(client)
    assert answer.status_code == 404
