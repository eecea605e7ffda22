"""The pictures beside a stop and in its alarm are those of its own frames, by the model that judged each."""

import re
from pathlib import Path

import pytest
from alerting.factory import BOOT, POLICY, Line, score
from console.test_guard import desk_at, log_in
from console.test_memory import tell
from fastapi.testclient import TestClient

from pipeline.events import ModelRef
from pipeline.maps import map_key
from workers.alerting.policy import Response
from workers.console.app import create_app

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("page", ["wall", "alarm"])
def test_a_frame_has_its_own_pictures_beside_one_whose_number_begins_alike(tmp_path: Path, page: str) -> None:
    """Between both the model changed: frame 1 was looked for under the model of frame 12, and none was shown."""
    line, frames = Line(), {1: "before", 11: None, 12: "after"}
    for number, model in frames.items():
        key = map_key(f"cam-1:{BOOT}:{number}", model) if model else None
        line.see(score(number, map_key=key, model=ModelRef(bundle="b", method="null", hash=model or "none")))
    desk = desk_at(tmp_path)
    for event in (*line.alarms, *line.commands):
        tell(desk.memory, event)
    with TestClient(create_app(desk), follow_redirects=False) as client:
        log_in(client, "viewer")
        shown = client.get("/" if page == "wall" else f"/alarms/{line.alarms[0].alarm_id}").text
    for number, model in frames.items():
        assert (f"/parts/cam-1:{BOOT}:{number}" in shown) is True
        for other in ("before", "after"):
            assert (f"/pictures/cam-1:{BOOT}:{number}/{other}/" in shown) is (other == model), number


def test_an_alarm_that_was_raised_again_as_its_line_was_stopped_shows_the_parts_of_the_stop(tmp_path: Path) -> None:
    """Its page showed those of its first day, and their score, to whoever came for the line that stood."""
    line = Line(POLICY.model_copy(update={"action": Response.ALARM_ONLY})).burst()
    line.policy = POLICY
    line.see(score(10, score=0.75))
    (stop,) = line.commands
    desk = desk_at(tmp_path)
    for event in (*line.alarms, *line.commands):
        tell(desk.memory, event)
    with TestClient(create_app(desk)) as client:
        log_in(client, "viewer")
        shown = client.get(f"/alarms/{line.alarms[0].alarm_id}").text.partition("<main")[2]
    assert re.findall(r'href="/parts/([^"]+)"', shown) == list(stop.evidence.frame_ids)
    assert "0.75 against 0.5" in shown
