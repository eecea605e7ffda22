"""`andon dead`: what could not be scored can be listed and taken out, byte for byte."""

from pathlib import Path

import pytest
from support.stream import frame, incoming, settings_for
from typer.testing import CliRunner

from pipeline.errors import AndonError
from pipeline.events import DeadReason
from pipeline.kafka.admin import ensure_topics
from pipeline.kafka.dead_letters import dead_letter
from pipeline.kafka.publisher import Publisher
from pipeline.kafka.records import Outgoing
from pipeline.settings import Settings
from workers.cli import app

pytestmark = pytest.mark.services


@pytest.fixture
def settings(kafka_bootstrap: str, unique: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Of a factory whose topics are there, and which the command finds in its environment."""
    found = settings_for(kafka_bootstrap, unique)
    ensure_topics(found, found.topics)
    for name, value in (("KAFKA_BOOTSTRAP", kafka_bootstrap), ("ANDON_TOPIC_PREFIX", unique)):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("ANDON_FRAME_PARTITIONS", "2")
    return found


def test_dead_frames_are_listed_by_reason_and_saved_as_they_came(settings: Settings, tmp_path: Path) -> None:
    publisher = Publisher(settings, "test")
    topic = settings.topics.frames_dead.name
    deaths = [(DeadReason.EMPTY, b"", "cam-1"), (DeadReason.UNDECODABLE, b"not a picture", "cam-2")]
    for number, (reason, value, camera) in enumerate(deaths):
        publisher.publish([dead_letter(incoming(frame(number, camera), value), topic, reason, f"detail {number}")])
    publisher.close()

    everything = CliRunner().invoke(app, ["dead", "list"]).output
    assert "detail 0" in everything
    assert "detail 1" in everything
    assert "1 empty, 1 undecodable" in everything
    listed = CliRunner().invoke(app, ["dead", "list", "--reason", "undecodable"]).output
    assert "detail 1" in listed
    assert "detail 0" not in listed
    row = next(line for line in listed.splitlines() if "detail 1" in line)
    out = tmp_path / "frame"
    saved = CliRunner().invoke(app, ["dead", "save", row.split()[0], "--out", str(out)])
    assert saved.exit_code == 0
    assert "dead.reason: undecodable" in saved.output
    assert out.read_bytes() == b"not a picture"


def test_no_more_is_read_than_is_shown_but_for_who_asks(settings: Settings) -> None:
    """It fetched all that Kafka keeps of two weeks, images and all, to show twenty."""
    publisher = Publisher(settings, "test")
    topic = settings.topics.frames_dead.name
    letters = [incoming(frame(number), b"no picture") for number in range(6)]
    for number, letter in enumerate(letters):
        reason = DeadReason.EMPTY if number == 0 else DeadReason.UNDECODABLE
        publisher.publish([dead_letter(letter, topic, reason, f"detail {number}")])
    publisher.close()

    def listed(*options: str) -> str:
        return CliRunner().invoke(app, ["dead", "list", "--last", "2", *options]).output

    newest = listed()
    assert "detail 4" in newest
    assert "detail 5" in newest
    assert "2 undecodable" in newest
    assert "4 older ones were not read" in newest
    since = listed("--since", "1h")
    assert "detail 3" not in since
    assert "5 undecodable, 1 empty" in since
    assert "not read" not in since
    assert "detail 0" in listed("--reason", "empty")


def test_what_a_hostile_sender_wrote_is_shown_as_text(settings: Settings, tmp_path: Path) -> None:
    publisher = Publisher(settings, "test")
    topic = settings.topics.frames_dead.name
    headers = [("dead.reason", b"[bold]"), ("dead.detail", b"[/x] \x1b]0;owned\x07"), ("camera_id", b"\x1b[2J")]
    publisher.publish([Outgoing(topic, b"[/red]cam", b"bytes", headers)])
    publisher.close()

    listed = CliRunner().invoke(app, ["dead", "list"])
    assert listed.exit_code == 0, listed.exception
    row = next(line for line in listed.output.splitlines() if "[/red]cam" in line)
    assert "[bold]" in row
    assert "[/x]" in row
    assert "1 [bold]" in listed.output
    saved = CliRunner().invoke(app, ["dead", "save", row.split()[0], "--out", str(tmp_path / "frame")])
    assert "dead.detail: [/x]" in saved.output
    assert "\x1b" not in listed.output + saved.output


def test_a_partition_that_is_none_holds_no_dead_frame(settings: Settings, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["dead", "save", "99:0", "--out", str(tmp_path / "x")])
    assert isinstance(result.exception, AndonError)
    assert "no dead frame at 99:0" in str(result.exception)


@pytest.mark.parametrize("place", ["7", "a:b", "-1:2"])
def test_a_place_that_is_none_is_refused(place: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["dead", "save", "--out", str(tmp_path / "x"), "--", place])
    assert result.exit_code == 2
    assert "PARTITION:OFFSET" in result.output
