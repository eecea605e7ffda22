"""Times are told in the zone of the plant, whatever the machine's own is."""

from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from alerting.factory import Line
from click import unstyle
from console.test_guard import desk_at, log_in
from console.test_memory import tell
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from workers.commands.console import console
from workers.console.app import create_app

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(("zone", "shown"), [("Asia/Kolkata", "17:30:01 IST"), ("UTC", "12:00:01 UTC")])
def test_an_alarm_is_shown_in_the_time_of_the_plant(tmp_path: Path, zone: str, shown: str) -> None:
    desk = desk_at(tmp_path, zone=ZoneInfo(zone))
    (alarm,) = Line().burst().alarms  # raised a second after noon, UTC
    tell(desk.memory, alarm)
    with TestClient(create_app(desk), follow_redirects=False) as client:
        log_in(client, "viewer")
        assert shown in client.get(f"/alarms/{alarm.alarm_id}").text
        assert f"Raised ({shown.split()[1]})" in client.get("/alarms").text


def test_an_unknown_zone_is_named() -> None:
    found = CliRunner().invoke(console, ["--time-zone", "Mars/Olympus"])
    assert found.exit_code == 2
    assert "there is no time zone 'Mars/Olympus'" in unstyle(found.output)
