"""What `andon topics` says of the topics."""

import pytest
from typer.testing import CliRunner

from workers.commands.topics import topics

pytestmark = pytest.mark.unit


def test_the_state_of_a_line_is_shown_as_never_deleted() -> None:
    told = CliRunner().invoke(topics, ["show"]).stdout
    (line_state,) = [row for row in told.splitlines() if "line-state" in row]
    assert "for ever, the last of each key" in line_state
    assert " d " not in line_state


def test_the_name_of_a_topic_is_whole_behind_a_long_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a pipe, where Rich would cut it: it is there to be copied."""
    monkeypatch.setenv("ANDON_TOPIC_PREFIX", "plant-in-a-small-town.")
    assert "plant-in-a-small-town.command-replies " in CliRunner().invoke(topics, ["show"]).stdout
