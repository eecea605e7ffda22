"""An address that was kept leads to what it names, or says that this is gone: never to another thing in its place."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from console.plant import score
from console.test_guard import desk_at, log_in
from console.test_memory import tell
from fastapi.testclient import TestClient

from workers.console.app import create_app

pytestmark = pytest.mark.unit


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    desk = desk_at(tmp_path)
    tell(desk.memory, score(0, line_id="press-1"))
    with TestClient(create_app(desk), follow_redirects=False) as made:
        log_in(made, "engineer")
        yield made


def test_the_model_of_a_line_that_is_gone_is_not_that_of_another(client: TestClient) -> None:
    """The first line in the alphabet stood there, with a threshold to set."""
    shown = client.get("/model?line=press-9")
    assert shown.status_code == 200
    assert "There is no line press-9" in shown.text
    assert "<option selected>press-9</option>" in shown.text
    assert "Scores of line" not in shown.text
