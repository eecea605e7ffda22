"""A camera that an alarm calls unwatched is not shown as if all were well, however good its parts."""

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from console.plant import BOOT, Plant, score

from pipeline.events import Verdict
from workers.alerting.core.state import MAX_CAMERAS

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("alerting")]


def test_a_camera_beyond_those_that_a_line_may_have_is_not_called_ok(plant: Plant, login: Callable[..., Any]) -> None:
    """Its bad parts stop nothing."""
    line = f"crowd-{uuid.uuid4().hex[:6]}"
    plant.crowd(line, MAX_CAMERAS)
    page = login()
    page.locator(f'.tile[data-camera="{line}-063"]').wait_for(state="attached")
    late = f"{line}-late"
    plant.tell([score(0, camera=late, line_id=line)])
    tile = page.locator(f'.tile[data-camera="{late}"]')
    tile.wait_for(state="attached")
    tile.scroll_into_view_if_needed()
    tile.and_(page.locator(".unwatched")).filter(has_text="OK, not watched: see its alarm").wait_for()
    plant.tell([score(1, Verdict.NOT_OK, camera=late, line_id=line, frame_id=f"{late}:{BOOT}:1")])
    tile.and_(page.locator(".not-ok")).filter(has_text="NOT OK, not watched: see its alarm").wait_for()
    assert "HOLD" not in page.locator(f'.line[data-line="{line}"]').inner_text()
