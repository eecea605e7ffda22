"""What is gone of the results, by what was read of them."""

import math

import pytest

from pipeline.audit.deleted import Reading
from pipeline.kafka.records import Incoming

pytestmark = pytest.mark.unit

PLACE = ("scores", 0)


def until(*read: tuple[int, int], begin: int, start: int = 0, end: int = 9, room: float = 0) -> float:
    """read: offsets, with the moments at which they came. What came up to 3 has expired."""
    reading = Reading({PLACE: start})
    for offset, at_ms in read:
        reading.take(Incoming(*PLACE, offset, at_ms, b"line", b"x"))
    return reading.deleted_until({PLACE: range(begin, end)}, {"scores": 3.0}, {"scores": room})[PLACE]


def test_what_was_left_out_came_before_the_record_after_it() -> None:
    assert until((0, 5), (1, 6), begin=0) == 0
    assert until((7, 5), (8, 6), begin=7) == 5
    assert until((0, 5), (7, 6), (8, 9), begin=7) == 6


def test_what_was_deleted_after_it_was_read_is_not_missed() -> None:
    assert until((0, 5), (1, 6), begin=2) == 0


def test_what_was_deleted_before_it_was_read_with_nothing_after_it_may_have_come_at_any_time() -> None:
    assert until((0, 5), begin=7) == math.inf


def test_what_an_emptied_partition_had_was_too_old() -> None:
    assert until(begin=7, end=7) == 3
    assert until((0, 2), begin=7, end=7) == 3
    assert until((0, 2), (1, 2), begin=2, end=2) == 0


def test_what_a_partition_with_room_had_was_too_old() -> None:
    """Each record has five bytes."""
    assert until((7, 5), (8, 6), begin=7, room=21) == 3
    assert until((7, 5), (8, 6), begin=7, room=20) == 5
    assert until((7, 2), (8, 6), begin=7, room=math.inf) == 2
    assert until((0, 5), (1, 6), begin=0, room=math.inf) == 0
    assert until((0, 5), begin=7, room=math.inf) == math.inf


def test_what_lies_before_the_start_is_not_missed() -> None:
    assert until((4, 5), begin=3, start=4) == 0
    assert until(begin=3, start=4) == 0
    assert until((6, 5), begin=6, start=4) == 5
