"""Names out of the stream make no series without end."""

import pytest

from pipeline.replica.labels import Labels

pytestmark = pytest.mark.unit


def test_names_beyond_the_most_share_a_label_and_those_before_keep_theirs() -> None:
    labels = Labels(most=2)
    told = [labels.of(name) for name in ("cam-1", "cam-2", "made-up-1", "cam-1", "made-up-2", "cam-2")]
    assert told == ["cam-1", "cam-2", "(others)", "cam-1", "(others)", "cam-2"]
