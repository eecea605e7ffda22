"""The contracts: what goes out comes back, and what breaks a contract says so."""

import json
from datetime import UTC, datetime

import pytest
from alerting.factory import score
from hypothesis import given
from hypothesis import strategies as st
from support.stream import frame

from pipeline.events import MAX_SEQUENCE, NAME, Action, ContractError, Frame, Heartbeat, Score, command_id, now
from pipeline.maps import map_key

pytestmark = pytest.mark.unit

names = st.from_regex(NAME, fullmatch=True).filter(lambda name: not name.endswith("\n"))
moments = st.integers(0, 4_102_444_800_000).map(lambda ms: datetime.fromtimestamp(ms / 1000, UTC))
frames = st.builds(
    Frame,
    camera_id=names,
    line_id=names,
    station_id=names,
    recipe=names,
    boot_id=names,
    sequence=st.integers(0, 2**53),
    part_id=st.text(min_size=1, max_size=40).filter(lambda text: "\x00" not in text),
    captured_at=moments,
    content_type=st.sampled_from(["image/png", "image/jpeg"]),
    repeats=st.integers(0, 1000),
    traceparent=st.none() | st.just("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
)


@given(frames)
def test_a_frame_survives_its_headers(sent: Frame) -> None:
    assert Frame.from_headers(sent.to_headers()) == sent


def changed(**changes: bytes | None) -> list[tuple[str, bytes]]:
    headers = dict(frame(7).to_headers()) | changes
    return [(name, value) for name, value in headers.items() if value is not None]


@pytest.mark.parametrize(
    ("headers", "says"),
    [
        ([], "camera_id, line_id.*missing"),
        (changed(part_id=None), "part_id is missing"),
        (changed(schema_version=b"2"), "schema_version '2' is unknown"),
        (changed(schema_version=None), "schema_version is missing"),
        (changed(camera_id=b"a b"), "camera_id"),
        (changed(sequence=b"-1"), "sequence"),
        (changed(captured_at=b"yesterday"), "captured_at 'yesterday' is not Unix milliseconds"),
        (changed(captured_at=b"9" * 30), "captured_at"),
        (changed(frame_id=b"cam-1:b1:8"), "belies"),
        (changed(content_type=b"image/gif"), "content_type"),
        (changed(line_id=b"\xff\xfe"), "UTF-8"),
    ],
)
def test_wrong_headers_are_named(headers: list[tuple[str, bytes]], says: str) -> None:
    with pytest.raises(ContractError, match=says):
        Frame.from_headers(headers)


@given(st.lists(st.tuples(st.text(max_size=10), st.binary(max_size=20)), max_size=12))
def test_any_headers_raise_nothing_else(headers: list[tuple[str, bytes]]) -> None:
    with pytest.raises(ContractError):
        Frame.from_headers(headers)


BEAT = Heartbeat(
    camera_id="c",
    line_id="l",
    boot_id="b",
    captured=1,
    published=1,
    buffered=0,
    spooled=0,
    source_connected=True,
    sent_at=datetime(2026, 11, 22, 18, 0, 0, 5000, UTC),
)


def test_times_are_iso_with_milliseconds() -> None:
    assert json.loads(BEAT.to_json())["sent_at"] == "2026-11-22T18:00:00.005Z"


def test_unknown_fields_are_ignored() -> None:
    wire = json.loads(BEAT.to_json()) | {"added_later": 1}
    assert Heartbeat.from_json(json.dumps(wire).encode()) == BEAT


@pytest.mark.parametrize("value", [None, b"", b"{}", b"not json", b'{"schema_version": 2}'])
def test_what_is_no_event_is_refused(value: bytes | None) -> None:
    with pytest.raises(ContractError, match="no Heartbeat event"):
        Heartbeat.from_json(value)


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ({"captured_at": "9999-12-31T23:59:59Z"}, "captured_at: .*reckoned"),
        ({"scored_at": "0001-01-01T00:00:00+05:00"}, "scored_at: .*reckoned"),
        ({"part_id": "x" * 129}, "part_id: .*128"),
        ({"frame_id": "x" * 400_000}, "frame_id: .*256"),
        ({"map_key": "x" * 400_000}, "map_key: .*512"),
        ({"doubts": ["dark"] * 400_000}, "doubts: .*16"),
        ({"model": {"bundle": "x" * 400_000, "method": "null", "hash": "h"}}, "model.bundle: .*256"),
    ],
)
def test_a_score_that_would_burst_what_follows_from_it_is_refused(fault: dict[str, object], says: str) -> None:
    """A worker that took it could not store its line or publish its alarm, nor could any successor."""
    known = json.loads(score(7).to_json())
    with pytest.raises(ContractError, match=says):
        Score.from_json(json.dumps(known | fault).encode())


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
@pytest.mark.parametrize("field", ["score", "threshold", "rank"])
def test_a_number_that_is_none_is_refused(field: str, number: str) -> None:
    """By a sender in another language. Written again it would be null, which its readers could not take."""
    sent = json.loads(score(0).to_json()) | {field: "@"}
    with pytest.raises(ContractError, match=field):
        Score.from_json(json.dumps(sent).replace('"@"', number).encode())


def test_a_frame_may_be_as_long_as_its_score() -> None:
    longest = changed(
        camera_id=b"c" * 64, boot_id=b"b" * 64, sequence=str(MAX_SEQUENCE).encode(), frame_id=None, part_id=b"p" * 128
    )
    sent = Frame.from_headers(longest)
    Score.model_validate({**score(7).__dict__, "frame_id": sent.frame_id, "map_key": map_key(sent.frame_id, "f" * 64)})
    with pytest.raises(ContractError, match="sequence"):
        Frame.from_headers(changed(sequence=str(MAX_SEQUENCE + 1).encode(), frame_id=None))


def test_the_same_act_is_the_same_command() -> None:
    """For the next release, too: it takes over lines that are held, and another id would be a second HOLD."""
    assert str(command_id("l", "e", Action.HOLD)) == "765e3aa4-c856-5c78-b6b0-c734630195e0"
    assert command_id("l", "e", Action.HOLD) != command_id("l", "e2", Action.HOLD)


def test_now_has_millisecond_precision() -> None:
    assert now().microsecond % 1000 == 0
