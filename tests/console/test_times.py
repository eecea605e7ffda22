"""Times are told in the zone of the plant, whatever the machine's own is."""

from datetime import UTC, datetime, timedelta
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
from workers.console import live
from workers.console.app import create_app
from workers.console.pages import common

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


@pytest.mark.parametrize(
    ("standing_for", "shown"), [(timedelta(), "12:00:00 UTC"), (timedelta(3), "2026-11-27 12:00:00 UTC")]
)
def test_a_stop_of_friday_does_not_look_like_one_of_today(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, standing_for: timedelta, shown: str
) -> None:
    monday = datetime(2026, 11, 30, 13, tzinfo=UTC)
    monkeypatch.setattr(common, "now", lambda: monday)
    desk = desk_at(tmp_path, zone=UTC)
    line = Line()
    tell(
        desk.memory,
        line.burst().alarms[0].model_copy(update={"changed_at": monday - timedelta(hours=1) - standing_for}),
    )
    (drawn,) = common.drawings(desk).now().lines
    assert f"by <bdi>andon</bdi>, {shown})" in drawn.html


def test_at_midnight_what_was_of_today_is_told_with_its_date(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line is drawn anew when it changes, and one that stands does not."""
    late = datetime(2026, 11, 30, 23, 59, 30, tzinfo=UTC)
    monkeypatch.setattr(common, "now", lambda: late)
    monkeypatch.setattr(live, "EVERY_S", -1)
    desk = desk_at(tmp_path, zone=UTC)
    tell(desk.memory, Line().burst().alarms[0].model_copy(update={"changed_at": late}))
    drawings = common.drawings(desk)
    assert "by <bdi>andon</bdi>, 23:59:30 UTC)" in drawings.now().html(wall=True)
    monkeypatch.setattr(common, "now", lambda: late + timedelta(minutes=1))
    assert "by <bdi>andon</bdi>, 2026-11-30 23:59:30 UTC)" in drawings.now().html(wall=True)


@pytest.mark.parametrize(
    ("changed_at", "shown"),
    [
        (datetime(2026, 10, 24, 12, tzinfo=UTC), "2026-10-24 14:00:00 CEST"),
        (datetime(2026, 10, 25, 0, 30, tzinfo=UTC), "02:30:00 CEST"),
        (datetime(2026, 10, 25, 1, 30, tzinfo=UTC), "02:30:00 CET"),
    ],
)
def test_what_stands_since_summer_time_is_told_by_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed_at: datetime, shown: str
) -> None:
    """Each was told by the name of the present season: an hour off."""
    monkeypatch.setattr(common, "now", lambda: datetime(2026, 10, 25, 5, tzinfo=UTC))
    desk = desk_at(tmp_path, zone=ZoneInfo("Europe/Berlin"))
    tell(desk.memory, Line().burst().alarms[0].model_copy(update={"changed_at": changed_at}))
    (drawn,) = common.drawings(desk).now().lines
    assert f"by <bdi>andon</bdi>, {shown})" in drawn.html


def test_an_unknown_zone_is_named() -> None:
    found = CliRunner().invoke(console, ["--time-zone", "Mars/Olympus"])
    assert found.exit_code == 2
    assert "there is no time zone 'Mars/Olympus'" in unstyle(found.output)
