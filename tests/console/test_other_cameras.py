"""A wall that stays open while its server is replaced shows the cameras of the new one, and no others."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from console.plant import score
from console.serving import served
from console.test_guard import desk_at, log_in
from console.test_memory import tell
from starlette.testclient import TestClient

from workers.console.app import create_app
from workers.console.desk import Desk
from workers.console.pages import common, events
from workers.console.sessions import COOKIE

pytestmark = pytest.mark.browser


def desk_with(folder: Path, *cameras: str) -> Desk:
    desk = desk_at(folder)
    for camera in cameras:
        tell(desk.memory, score(0, camera=camera))
    return desk


@pytest.fixture
def wall(chromium: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Of two cameras. Its stream ends every two seconds."""
    monkeypatch.setattr(events, "LIFE_S", 2.0)
    (tmp_path / "before").mkdir()
    desk = desk_with(tmp_path / "before", "cam-stays", "cam-goes")
    app = create_app(desk)
    with TestClient(app, follow_redirects=False) as client:
        log_in(client, "viewer")
        cookie = client.cookies[COOKIE]
    config = uvicorn.Config(app, port=0, log_level="error", ws="none", timeout_graceful_shutdown=1)
    with served(config) as port:
        address = f"http://127.0.0.1:{port}"
        context = chromium.new_context(base_url=address)
        context.set_default_timeout(60_000)
        context.add_cookies([{"name": COOKIE, "value": cookie, "url": address}])
        page = context.new_page()
        page.goto("/")
        page.locator(".tile").nth(1).wait_for(state="attached")
        page.app = app
        yield page
        context.close()


def test_a_camera_that_the_new_server_does_not_know_goes_once_that_has_read_the_past(wall: Any, tmp_path: Path) -> None:
    """It stood there as OK for as long as the wall was open."""
    after = desk_with(tmp_path, "cam-stays")
    after.reader.fault = "the page has only just started"
    wall.app.state.drawings = common.drawings(after)
    wall.locator("#connection").filter(has_text="only just started").wait_for()
    assert wall.locator(".tile").count() == 2
    after.reader.fault = None
    wall.locator('.tile[data-camera="cam-goes"]').wait_for(state="detached")
    assert wall.locator(".tile").count() == 1
