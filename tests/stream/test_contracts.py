"""The published schemas are the code's own: a change of a contract is announced or it fails here."""

import json
from pathlib import Path

import jsonschema
import pytest
from support.stream import frame

from pipeline.contracts import schemas
from pipeline.events import EVENTS, Frame
from workers.alerting.people.streams import CONTRACTS
from workers.commands.subscribe import Stream

pytestmark = pytest.mark.unit

FOLDER = Path(__file__).parents[2] / "docs" / "contracts"


def test_the_committed_schemas_are_current() -> None:
    committed = {path.name: path.read_text() for path in FOLDER.glob("*.json")}
    assert committed == schemas(), "a contract changed: run `andon contracts`, commit docs/contracts, and say so"


@pytest.mark.parametrize("file", sorted(schemas()))
def test_each_field_of_a_contract_has_words(file: str) -> None:
    """The schemas are all that a subscriber is given."""
    schema = json.loads(schemas()[file])
    contracts = [schema, *(found for found in schema.get("$defs", {}).values() if "properties" in found)]
    fields = [(found["title"], name, field) for found in contracts for name, field in found["properties"].items()]
    assert [(title, name) for title, name, field in fields if not field.get("description")] == []


def test_each_time_of_an_event_is_told_to_be_one() -> None:
    """A string was all that the schemas said, and who writes an operation had to guess in which form."""
    told = {file: json.loads(text)["properties"] for file, text in schemas().items() if not file.startswith("Frame.")}
    times = [
        (file, name, field) for file, fields in told.items() for name, field in fields.items() if name.endswith("_at")
    ]
    assert len(times) > 10
    assert [(file, name) for file, name, field in times if "date-time" not in json.dumps(field)] == []


def test_every_event_can_be_subscribed_to() -> None:
    """Who asked for a reset could not be."""
    assert {stream.value for stream in Stream} == CONTRACTS.keys()
    assert {*CONTRACTS.values(), Frame} == set(EVENTS)  # a frame is an image


@pytest.mark.parametrize("left_out", ["", "schema_version", "sequence"])
def test_the_headers_of_a_frame_keep_its_schema(left_out: str) -> None:
    schema = json.loads(schemas()["Frame.v1.json"])
    headers = {name: value.decode() for name, value in frame(0).to_headers() if name != left_out}
    assert jsonschema.Draft202012Validator(schema).is_valid(headers) is not bool(left_out)
