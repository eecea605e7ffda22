"""What a source gives becomes numbered frames, whatever it does; one that fails comes back."""

import threading
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from support.waiting import wait_until

from pipeline.events import now
from pipeline.topics import MAX_FRAME_BYTES
from workers.camera import feeder as feeder_module
from workers.camera.backoff import Backoff
from workers.camera.buffer import Buffer, WhenFull
from workers.camera.config import Camera
from workers.camera.feeder import Feeder
from workers.camera.ledger import Ledger, Tally
from workers.camera.sources.base import Image, ImageSource, Ready, SourceError, Unreadable

pytestmark = pytest.mark.unit


class Scripted:
    """Yields what the script says; an exception in it breaks the source off there."""

    def __init__(self, script: list[Image | Unreadable | Ready | Exception]) -> None:
        self.script = script

    def images(self, stop: threading.Event) -> Iterator[Image | Unreadable | Ready]:
        while self.script:
            step = self.script.pop(0)
            if isinstance(step, Exception):
                raise step
            yield step


def shot(content: bytes = b"x") -> Image:
    return Image(content, "image/png", now(), "part-7.0")


def fed_by(source: ImageSource, frames: int | None = None, **camera: str) -> tuple[Feeder, Ledger, Buffer]:
    ledger, buffer = Ledger(), Buffer(1 << 20, WhenFull.DROP_OLDEST)
    facts = {"camera_id": "cam-1", "line_id": "l", "station_id": "s", "recipe": "r"} | camera
    settings = Camera.model_validate(facts | {"source": {"type": "folder", "path": "."}})
    return Feeder(settings, "boot", source, buffer, ledger, frames), ledger, buffer


def feed(source: ImageSource, frames: int | None = None, **camera: str) -> tuple[Feeder, Tally, Buffer]:
    feeder, ledger, buffer = fed_by(source, frames, **camera)
    feeder.run(threading.Event())
    return feeder, ledger.snapshot()[feeder.owner], buffer


def test_a_source_that_breaks_off_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """That it was back the log did not say."""
    caplog.set_level("INFO")
    monkeypatch.setattr(feeder_module, "Backoff", lambda *_: Backoff(0.001, 0.001))
    feeder, tally, _ = feed(Scripted([shot(), SourceError("gone"), ValueError("a bug in a driver"), shot()]))
    assert tally == Tally(captured=2, buffered=2)
    assert (feeder.failures, feeder.connected) == (2, False)
    assert caplog.text.count("its source is there again") == 1


def test_a_source_on_a_share_that_hangs_is_told_of_and_is_not_connected(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It had been called connected for as long as the share hung."""
    at_s = [0.0]
    monkeypatch.setattr(feeder_module, "time", SimpleNamespace(monotonic=lambda: at_s[0]))
    share, asked = threading.Event(), threading.Event()

    class OnAShare:
        def images(self, stop: threading.Event) -> Iterator[Image | Unreadable]:
            yield shot()
            asked.set()
            share.wait(30)
            yield shot()

    feeder, ledger, _ = fed_by(OnAShare())
    thread = threading.Thread(target=feeder.run, args=(threading.Event(),))
    thread.start()
    wait_until(asked.is_set)
    assert feeder.connected
    at_s[0] = 11
    assert not feeder.connected
    feeder.watch()
    feeder.watch()
    assert [record.getMessage() for record in caplog.records] == ["camera cam-1: its source has given nothing for 10 s"]
    share.set()
    thread.join(30)
    assert ledger.snapshot()[feeder.owner].captured == 2


def test_every_captured_frame_has_a_number_also_those_that_cannot_be_sent() -> None:
    source = Scripted([shot(), shot(b""), Unreadable("torn"), shot(b"x" * (MAX_FRAME_BYTES + 1)), shot()])
    _, tally, buffer = feed(source)
    assert tally == Tally(captured=5, buffered=2, dropped={"empty": 1, "unreadable": 1, "too_large": 1})
    assert [parcel.sequence for parcel in iter(buffer.take, None)] == [0, 4]


def test_frames_that_were_lost_together_have_a_number_each_and_are_told_once(caplog: pytest.LogCaptureFixture) -> None:
    _, tally, buffer = feed(Scripted([shot(), Unreadable("lost", 3), shot()]))
    assert tally == Tally(captured=5, buffered=2, dropped={"unreadable": 3})
    assert [parcel.sequence for parcel in iter(buffer.take, None)] == [0, 4]
    assert [record.getMessage() for record in caplog.records] == ["camera cam-1: frames 1 to 3 are unreadable: lost"]


def test_no_more_frames_are_lost_than_were_wanted() -> None:
    _, tally, _ = feed(Scripted([shot(), Unreadable("lost", 3), shot()]), frames=3)
    assert tally == Tally(captured=3, buffered=1, dropped={"unreadable": 2})


def test_a_source_that_is_open_is_connected_before_its_first_frame() -> None:
    """A camera that waits for its trigger all morning was said to be away."""
    ready, asked = threading.Event(), threading.Event()

    class Triggered:
        def images(self, stop: threading.Event) -> Iterator[Image | Ready]:
            yield Ready()
            asked.set()
            ready.wait(30)
            yield shot()

    feeder, ledger, _ = fed_by(Triggered())
    thread = threading.Thread(target=feeder.run, args=(threading.Event(),))
    thread.start()
    wait_until(asked.is_set)
    assert (feeder.connected, ledger.snapshot()[feeder.owner].captured) == (True, 0)
    ready.set()
    thread.join(30)
    assert ledger.snapshot()[feeder.owner].captured == 1


def test_frames_that_are_too_large_are_told_once_until_one_fits(caplog: pytest.LogCaptureFixture) -> None:
    """Of a camera whose every frame was, nothing was to be read in its worker's log."""
    large = shot(b"x" * (MAX_FRAME_BYTES + 1))
    feed(Scripted([large, large, shot(), large]))
    told = [record.getMessage() for record in caplog.records]
    assert [message.partition(" has more than ")[0] for message in told] == [
        "camera cam-1: frame 0",
        "camera cam-1: frame 3",
    ]
    assert "encode it as JPEG" in told[0]


def test_a_part_is_named_by_the_frame_or_by_the_file() -> None:
    for rule, expected in (("frame", b"cam-1:boot:0"), ("file", b"part-7.0")):
        _, _, buffer = feed(Scripted([shot()]), part_id=rule)
        parcel = buffer.take()
        assert parcel is not None
        assert dict(parcel.headers)["part_id"] == expected


def test_the_wanted_number_of_frames_ends_a_camera() -> None:
    assert feed(Scripted([shot() for _ in range(9)]), frames=4)[1].captured == 4
