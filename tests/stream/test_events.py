"""The contracts: what goes out comes back, and what breaks a contract says so."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.stream import frame

from pipeline.events import NAME, Action, ContractError, Frame, Heartbeat, command_id, now

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


def test_times_are_iso_with_milliseconds_and_unknown_fields_are_ignored() -> None:
    beat = Heartbeat(
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
    wire = json.loads(beat.to_json())
    assert wire["sent_at"] == "2026-11-22T18:00:00.005Z"
    assert Heartbeat.from_json(json.dumps(wire | {"added_later": 1}).encode()) == beat


@pytest.mark.parametrize("value", [None, b"", b"{}", b"not json", b'{"schema_version": 2}'])
def test_what_is_no_event_is_refused(value: bytes | None) -> None:
    with pytest.raises(ContractError, match="not a Heartbeat event"):
        Heartbeat.from_json(value)


def test_the_same_act_is_the_same_command() -> None:
    assert command_id("l", "e", Action.HOLD) == command_id("l", "e", Action.HOLD)
    assert command_id("l", "e", Action.HOLD) != command_id("l", "e2", Action.HOLD)


def test_now_has_millisecond_precision() -> None:
    assert now().microsecond % 1000 == 0
