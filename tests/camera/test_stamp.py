"""A stamp writes the very headers that the contract would."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.events import Frame, from_ms
from workers.camera.config import Camera, FolderSource
from workers.camera.stamp import Stamp

pytestmark = pytest.mark.unit

CAMERA = Camera(
    camera_id="cam-10",
    line_id="line-1",
    station_id="s1",
    recipe="r1",
    source=FolderSource(type="folder", path="/nowhere"),
)


@given(
    sequence=st.integers(0, 10**9),
    part=st.none() | st.text(min_size=1, max_size=100),
    ms=st.integers(0, 4 * 10**12),
    kind=st.sampled_from(["image/png", "image/jpeg"]),
    repeats=st.integers(0, 1000),
)
def test_the_headers_are_those_of_the_frame(sequence: int, part: str | None, ms: int, kind: str, repeats: int) -> None:
    headers = Stamp(CAMERA, "b-0").headers(sequence, part, from_ms(ms), kind, repeats)  # type: ignore[arg-type]
    frame = Frame.from_headers(headers)
    assert dict(frame.to_headers()) == dict(headers)
    assert frame.frame_id == f"cam-10:b-0:{sequence}"
    assert frame.part_id == (part or frame.frame_id)


def test_a_part_named_by_a_file_that_is_not_utf8_travels_all_the_same() -> None:
    headers = Stamp(CAMERA, "b-0").headers(1, "tile\udcff", from_ms(0), "image/png", 0)
    assert Frame.from_headers(headers).part_id == "tile?"
