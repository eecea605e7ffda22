"""The published schemas are the code's own: a change of a contract is announced or it fails here."""

from pathlib import Path

import pytest

from pipeline.contracts import schemas

pytestmark = pytest.mark.unit

FOLDER = Path(__file__).parents[2] / "docs" / "contracts"


def test_the_committed_schemas_are_current() -> None:
    committed = {path.name: path.read_text() for path in FOLDER.glob("*.json")}
    assert committed == schemas(), "a contract changed: run `andon contracts`, commit docs/contracts, and say so"
