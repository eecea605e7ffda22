"""What a reader makes of a producer's odd answers. The camera is played: no virtual one can be brought to give them."""

import io
import os
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from camera.viky import camera as config
from genicam import gentl

from workers.camera.sources.genicam import reader
from workers.camera.sources.genicam.buffers import raw_of
from workers.camera.sources.genicam.device import Fault
from workers.camera.sources.genicam.losses import Losses
from workers.camera.sources.genicam.outbox import Outbox, Shot
from workers.camera.sources.genicam.pixels import Raw, picture_of
from workers.camera.sources.genicam.reader import End, Presence
from workers.camera.sources.genicam.wire import Inbox, Kind, Message

pytestmark = pytest.mark.unit

MONO8, RGB8, JPEG = 0x01080001, 0x02180014, 5


class Buffer(SimpleNamespace):
    """What a producer does not tell raises, as the bindings do."""

    def __getattr__(self, name: str) -> Any:
        raise gentl.NotAvailableException(name)


class Nodes(SimpleNamespace):
    def has_node(self, name: str) -> bool:
        return hasattr(self, name)


NODES = Nodes(
    Width=SimpleNamespace(value=4),
    Height=SimpleNamespace(value=2),
    PixelFormat=SimpleNamespace(value="Mono8", symbolics=("Mono8", "Coord3D_C16")),
)


def buffer(**facts: Any) -> Buffer:
    told = {
        "payload_type": 1,
        "width": 4,
        "height": 2,
        "pixel_format": MONO8,
        "raw_buffer": bytes(range(8)),
        "parts": (),
    }
    return Buffer(parent=SimpleNamespace(queue_buffer=lambda _: None), **(told | facts))


def rows(raw: Raw) -> list[list[int]]:
    return np.asarray(picture_of(raw)).tolist()


def test_what_a_buffer_does_not_tell_the_camera_is_asked_for() -> None:
    bare = Buffer(raw_buffer=bytes(range(8)))
    assert rows(raw_of(bare, NODES)) == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_a_line_scan_picture_ends_where_its_part_ends() -> None:
    assert rows(raw_of(buffer(height=9, delivered_image_height=1, size_filled=4), NODES)) == [[0, 1, 2, 3]]


def test_a_picture_may_begin_within_its_buffer_and_have_padding() -> None:
    found = raw_of(buffer(raw_buffer=b"??" + bytes(range(10)), image_offset=2, padding_x=1, size_filled=10), NODES)
    assert rows(found) == [[0, 1, 2, 3], [5, 6, 7, 8]]


def test_values_of_two_bytes_may_come_the_other_way_round() -> None:
    facts = {"pixel_format": 0x01100005, "raw_buffer": b"\x0f\xf0" * 8, "pixel_endianness": 2}  # Mono12
    assert rows(raw_of(buffer(**facts), NODES)) == [[0xFF] * 4] * 2


def test_of_parts_the_first_picture_is_taken_with_rows_as_long_as_they_are() -> None:
    shape = {"width": 2, "height": 2, "data_offset": 3, "data_size": 16}
    range_, colour = (SimpleNamespace(data_format=format, **shape) for format in (0x011000B8, RGB8))
    content = b"???" + b"".join(bytes([level] * 6) + b"!!" for level in (10, 20))
    found = raw_of(buffer(payload_type=10, parts=(range_, colour), raw_buffer=content), NODES)
    assert rows(found) == [[[10] * 3] * 2, [[20] * 3] * 2]


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ({"payload_type": JPEG}, "sends JPEG and no plain pictures: switch that off"),
        ({"pixel_format": 0x011000B8}, "pictures in Coord3D_C16 can't be read; set features.PixelFormat to Mono8"),
        ({"pixel_format": 0x7F001234}, "pictures in 0x7f001234 can't be read"),
        ({"payload_type": 10, "parts": ()}, "pictures in no part can't be read"),
    ],
)
def test_what_is_no_picture_is_refused_with_what_would_be_one(facts: dict[str, Any], told: str) -> None:
    with pytest.raises(Fault, match=told):
        raw_of(buffer(**facts), NODES)


class Port:
    def __init__(self, *answers: type[Exception] | None) -> None:
        self._answers = list(answers)

    def read(self, address: int, size: int) -> bytes:
        answer = self._answers.pop(0) if self._answers else None
        if answer:
            raise answer("played")
        return b"\0" * size


def presence(*answers: type[Exception] | None) -> Presence:
    return Presence(SimpleNamespace(remote_device=SimpleNamespace(port=Port(*answers))))


def test_a_camera_that_answers_no_more_is_away_and_one_missed_answer_is_none() -> None:
    there = presence(None, gentl.IoException, None, gentl.IoException, gentl.IoException)
    for _ in range(3):
        there.look()
    with pytest.raises(Fault, match="the camera answers no more: played"):
        there.look()


def test_a_camera_without_that_register_is_not_taken_for_one_that_is_away() -> None:
    without = presence(gentl.IoException, gentl.IoException, gentl.IoException)
    without.look()
    without.look()


class Camera:
    """Gives these buffers; "part" for one that came in part, which harvesters keeps to itself."""

    Events = SimpleNamespace(INCOMPLETE_BUFFER=7)

    def __init__(self, end: End, buffers: list[Buffer | str]) -> None:
        self.remote_device = SimpleNamespace(node_map=NODES, port=Port())
        self._end, self._buffers = end, buffers

    def add_callback(self, event: int, callback: Any) -> None:
        self._incomplete = callback

    def try_fetch(self, **_: object) -> Buffer | None:
        if not self._buffers:
            self._end.asked = True
            return None
        found = self._buffers.pop(0)
        if isinstance(found, str):
            self._incomplete.emit()
            return None
        return found


class Sent:
    """An outbox that takes `room` pictures."""

    def __init__(self, room: int = 99) -> None:
        self.items: list[Message | Shot] = []
        self._room = room

    def offer(self, item: Message | Shot) -> bool:
        if self._room == 0:
            return False
        self._room -= 1
        self.items.append(item)
        return True


def test_every_frame_is_a_picture_or_told_as_lost_before_the_next() -> None:
    end, losses, sent = End(), Losses(), Sent()
    buffers = [buffer(frame_id=1), "part", buffer(frame_id=3), buffer(frame_id=6), "part"]
    reader.read(Camera(end, buffers), config(), sent, losses, end)  # type: ignore[arg-type]
    assert [item.lost for item in sent.items] == [0, 1, 2]
    assert losses.untold == 1


def test_frames_that_find_no_room_are_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    end, losses, sent = End(), Losses(), Sent(room=2)
    reader.read(Camera(end, [buffer(frame_id=number) for number in range(5)]), config(), sent, losses, end)  # type: ignore[arg-type]
    assert (len(sent.items), losses.untold) == (2, 3)


def test_pictures_that_all_come_in_part_are_told_with_each_beat(monkeypatch: pytest.MonkeyPatch) -> None:
    """So it is with a packet size that the network does not carry; nothing was to be seen of it."""
    monkeypatch.setattr(reader, "_BEAT_S", -1)
    end, losses, sent = End(), Losses(), Sent()
    reader.read(Camera(end, ["part", "part", "part"]), config(), sent, losses, end)  # type: ignore[arg-type]
    assert sum(item.lost for item in sent.items) == 3


@pytest.fixture
def pipe() -> Iterator[tuple[io.FileIO, io.BufferedWriter]]:
    ours, theirs = os.pipe()
    with os.fdopen(ours, "rb", buffering=0) as reading, os.fdopen(theirs, "wb") as writing:
        yield reading, writing


def test_a_picture_that_can_not_be_shown_costs_itself_alone(pipe: tuple[io.FileIO, io.BufferedWriter]) -> None:
    """It ended the thread that sends, and a camera that worked was said to hang."""
    reading, wire = pipe
    outbox = Outbox(wire, config(), lambda: None)
    whole = raw_of(buffer(), NODES)
    for raw in (Raw(b"", 4, 2, "Mono8"), Raw(b"", 0, 0, "Mono8"), Raw(b"x" * 70_000, 70_000, 1, "Mono8"), whole):
        outbox.put(Shot(raw, reader.now(), 0))  # type: ignore[arg-type]
    outbox.close()
    inbox = Inbox(reading.fileno())
    kinds = [message.kind for _ in range(4) if (message := inbox.next(5))]
    assert kinds == [Kind.SPOILT] * 3 + [Kind.FRAME]


def test_who_hears_nothing_any_more_ends_the_reader(
    pipe: tuple[io.FileIO, io.BufferedWriter],
) -> None:
    reading, wire = pipe
    deaf = threading.Event()
    reading.close()
    outbox = Outbox(wire, config(), deaf.set)
    outbox.put(Message(Kind.READY))
    assert deaf.wait(5)
    for _ in range(20):  # more than may wait
        outbox.put(Message(Kind.BEAT))
    outbox.close()
