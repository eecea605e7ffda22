"""The buffer never holds more bytes than it may, loses only what it says, and keeps each camera's order."""

import threading
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workers.camera.buffer import Buffer, WhenFull
from workers.camera.parcel import Parcel

pytestmark = pytest.mark.unit

MakeParcel = Callable[..., Parcel]


def drain(buffer: Buffer) -> list[Parcel]:
    return list(iter(buffer.take, None))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 5_000)) | st.none(), max_size=60))
def test_every_frame_is_inside_taken_or_given_up(parcel: MakeParcel, steps: list[tuple[str, int] | None]) -> None:
    buffer = Buffer(limit := 12_000, WhenFull.DROP_OLDEST)
    put: list[Parcel] = []
    gone: list[Parcel] = []
    taken: list[Parcel] = []
    for sequence, step in enumerate(steps):
        if step is None:
            taken += [found] if (found := buffer.take()) else []
        else:
            put.append(parcel(sequence, *step))
            gone += buffer.put(put[-1])
        assert buffer.size_bytes <= limit
    taken += drain(buffer)
    assert buffer.size_bytes == 0
    assert sorted(p.sequence for p in [*taken, *gone]) == [p.sequence for p in put]
    assert [p.sequence for p in taken] == sorted(p.sequence for p in taken)


def test_the_oldest_of_the_camera_that_holds_most_goes_first(parcel: MakeParcel) -> None:
    buffer = Buffer(5 * parcel(0).size_bytes, WhenFull.DROP_OLDEST)
    buffer.put(parcel(0, "quiet"))
    given_up = [lost for sequence in range(6) for lost in buffer.put(parcel(sequence, "loud"))]
    assert [(p.owner.camera_id, p.sequence) for p in given_up] == [("loud", 0), ("loud", 1)]
    assert [(p.owner.camera_id, p.sequence) for p in drain(buffer)] == [
        ("quiet", 0),
        *(("loud", sequence) for sequence in range(2, 6)),
    ]


def test_what_is_put_back_is_again_the_oldest(parcel: MakeParcel) -> None:
    buffer = Buffer(3 * parcel(0).size_bytes, WhenFull.DROP_OLDEST)
    for sequence in range(3):
        buffer.put(parcel(sequence))
    taken = buffer.take()
    assert taken is not None
    buffer.put_back(taken)
    assert [p.sequence for p in buffer.put(parcel(3))] == [0]
    assert [p.sequence for p in drain(buffer)] == [1, 2, 3]


def test_a_frame_larger_than_the_whole_buffer_is_given_up_itself(parcel: MakeParcel) -> None:
    for policy in WhenFull:
        huge = parcel(0, size=10_000)
        assert Buffer(5_000, policy).put(huge) == [huge]


def test_block_waits_for_room(parcel: MakeParcel) -> None:
    buffer = Buffer(parcel(0).size_bytes, WhenFull.BLOCK)
    buffer.put(parcel(0))
    given_up: list[list[Parcel]] = []
    source = threading.Thread(target=lambda: given_up.append(buffer.put(parcel(1))))
    source.start()
    source.join(0.2)
    assert source.is_alive()
    assert buffer.take() is not None
    source.join(5)
    assert given_up == [[]]
    assert [p.sequence for p in drain(buffer)] == [1]


def test_closing_releases_whoever_waits_and_gives_the_frame_back(parcel: MakeParcel) -> None:
    buffer = Buffer(parcel(0).size_bytes, WhenFull.BLOCK)
    buffer.put(parcel(0))
    given_up: list[Parcel] = []
    source = threading.Thread(target=lambda: given_up.extend(buffer.put(parcel(1))))
    source.start()
    buffer.close()
    source.join(5)
    assert [p.sequence for p in given_up] == [1]
    assert [p.sequence for p in drain(buffer)] == [0]


def test_pressure_is_a_matter_of_dropping_only(parcel: MakeParcel) -> None:
    for policy, expected in ((WhenFull.DROP_OLDEST, True), (WhenFull.BLOCK, False)):
        buffer = Buffer(parcel(0).size_bytes, policy)
        assert not buffer.under_pressure
        buffer.put(parcel(0))
        assert buffer.under_pressure is expected


def test_a_group_is_the_oldest_in_order_up_to_enough(parcel: MakeParcel) -> None:
    buffer = Buffer(1 << 20, WhenFull.BLOCK)
    parcels = [parcel(sequence, "ab"[sequence % 2]) for sequence in range(5)]
    for each in parcels:
        buffer.put(each)
    assert buffer.take_group(parcels[0].size_bytes + 1) == parcels[:2]
    assert buffer.size_bytes == sum(each.size_bytes for each in parcels[2:])
    assert buffer.take_group(1 << 20) == parcels[2:]
    assert buffer.take_group(1 << 20) == []
