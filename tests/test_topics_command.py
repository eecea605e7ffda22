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
