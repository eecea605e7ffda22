"""Industrial cameras, through the virtual ones of a real GenTL producer: Viky, which comes with GenICam's bindings."""

import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import genicam
import numpy as np
import pytest
from camera.viky import VIKY, camera, images_of, readers, shots
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow
from pydantic import ValidationError
from support.stream import wait_until

from workers.camera import check
from workers.camera.check import look_at_all
from workers.camera.config import GenicamSource
from workers.camera.sources import open_source
from workers.camera.sources.base import Image, Ready, SourceError, Unreadable
from workers.camera.sources.genicam import capture
from workers.camera.sources.genicam.wire import Inbox, Kind, Message

pytestmark = pytest.mark.unit


@pytest.fixture(autouse=True)
def no_reader_is_left_to_the_next_test() -> Iterator[None]:
    yield
    for reader in readers():
        os.kill(reader, signal.SIGKILL)


def refusal(source: GenicamSource) -> str:
    with pytest.raises(SourceError) as refused:
        list(images_of(source))
    return str(refused.value)


def opened(image: Image) -> Pillow.Image:
    return Pillow.open(io.BytesIO(image.content))


def test_three_cameras_at_once_each_show_their_own_ball() -> None:
    """Red, green and blue, on white. Each picture is another: the producer writes the next over the last."""
    sources = [images_of(camera(number, encode="png", features={"AcquisitionFrameRate": 50})) for number in range(3)]
    for number, source in enumerate(sources):
        found = list(islice((image for image in source if isinstance(image, Image)), 6))
        assert len({image.content for image in found}) == 6
        assert [image.captured_at for image in found] == sorted(image.captured_at for image in found)
        pixels = np.asarray(opened(found[0]))
        ball = pixels[(pixels != 255).any(axis=2)]
        assert (ball == np.eye(3, dtype=np.uint8)[number] * 255).all()
        assert len(ball)


def test_features_are_set_before_it_starts_and_gray_stays_gray() -> None:
    (image,) = shots(camera(features=[{"Width": 300}, {"Width": 320.0, "Height": 200, "PixelFormat": "Mono8"}]), 1)
    with opened(image) as picture:
        assert (picture.format, picture.mode, picture.size) == ("JPEG", "L", (320, 200))


def test_it_says_that_it_is_open_before_the_first_picture() -> None:
    """A camera that waits for its trigger may have none for hours, and is connected all the same."""
    assert isinstance(next(images_of(camera())), Ready)


def test_frames_that_the_computer_could_not_take_are_counted() -> None:
    """The worker stands still for a while, as behind a full buffer."""
    rate, pause_s = 50, 3
    source = images_of(camera(encode="png", features={"AcquisitionFrameRate": rate}))
    begun_s = time.monotonic()
    next(found for found in source if isinstance(found, Image))
    time.sleep(pause_s)
    seen = lost = 0
    while not lost or seen < 10:
        found = next(source)
        seen += isinstance(found, Image)
        lost += found.frames if isinstance(found, Unreadable) else 0
    assert 0 < seen + lost <= rate * (time.monotonic() - begun_s) + 1


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"device": {}}, "3 cameras fit (any); say which by source.device.serial_number"),
        ({"device": {}}, "There are: serial_number '0', id 'VikyTL_DEV_red', model 'Viky'; serial_number '1'"),
        ({"device": {"serial_number": "9"}}, "no camera fits (serial_number '9'). There are: serial_number '0', id"),
        ({"features": {"Width": 7}}, "features.Width: 7 is refused: Value = 7 must be equal or greater than Min = 100"),
        ({"features": {"Width": "wide"}}, "features.Width: 'wide' is refused"),
        ({"features": {"Weight": 7}}, "features.Weight: the camera has no such feature"),
        ({"features": {"PixelFormat": "Mono9"}}, "'Mono9' is refused"),
        ({"features": {"PixelFormat": "Mono9"}}, "it may be RGBa8, Mono8"),
        ({"features": {"GenDCStreamingMode": True}}, "the camera sends GENDC and no plain pictures"),  # On, in YAML
        ({"features": {"GenDCDescriptor": 5}}, "features.GenDCDescriptor: 5 is refused: it is none that can be set"),
        ({"features": [{"Width": 320}, {"Width": 8}]}, "features.Width: 8 is refused"),
        ({"producer": "/there/is.none"}, "producer /there/is.none does not exist; name the .cti file"),
        ({"producer": __file__}, "can't be loaded"),
        ({"producer": None}, "no GenTL producer: name the camera maker's .cti file in source.producer"),
    ],
)
def test_what_is_wrong_is_told(settings: dict[str, object], told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GENICAM_GENTL64_PATH", raising=False)
    assert told in refusal(camera(**settings))


def test_a_library_that_is_no_producer_is_named(tmp_path: Path) -> None:
    """The bindings call what is not there."""
    library = Path(genicam.__file__).parent / "libLog_gcc8_v3_5.so"
    assert f"{library} is no GenTL producer" in refusal(camera(producer=library))


def test_producers_are_found_where_their_makers_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is broken is no hindrance."""
    (tmp_path / "broken.cti").write_bytes(b"no library")
    monkeypatch.setenv("GENICAM_GENTL64_PATH", f"{tmp_path}:{VIKY.parent}")
    assert len(shots(camera(producer=None), 1)) == 1
    monkeypatch.setenv("GENICAM_GENTL64_PATH", str(tmp_path))
    assert "There are: none (producer" in refusal(camera(producer=None))


def test_a_maker_s_code_that_crashes_takes_nobody_along() -> None:
    source = images_of(camera())
    next(source)
    (reader,) = readers()
    os.kill(reader, signal.SIGSEGV)
    with pytest.raises(SourceError, match="its reader ended unasked \\(SIGSEGV\\)"):
        list(source)
    assert shots(camera(), 1)


def test_a_maker_s_code_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture, "_HANGS_S", 1.5)
    source = images_of(camera())
    next(source)
    (reader,) = readers()
    os.kill(reader, signal.SIGSTOP)
    with pytest.raises(SourceError, match=r"its producer has hung for 1\.5 s"):
        list(source)
    assert not readers()


def test_frames_that_were_lost_before_a_fault_are_told_before_it() -> None:
    ours, theirs = os.pipe()
    with os.fdopen(ours, "rb") as reading, os.fdopen(theirs, "wb") as writing:
        writing.write(Message(Kind.READY).pack() + Message(Kind.FAULT, b"it broke", lost=3).pack())
        writing.flush()
        played = SimpleNamespace(stdout=reading)
        source = capture.GenicamCapture(camera())._follow(played, threading.Event())  # type: ignore[arg-type]
        assert isinstance(next(source), Ready)
        lost = next(source)
        assert isinstance(lost, Unreadable)
        assert lost.frames == 3
        with pytest.raises(SourceError, match="GenICam camera 0: it broke"):
            next(source)


def test_no_picture_for_so_long_is_a_fault_where_the_plant_says_so() -> None:
    source = images_of(camera(features={"AcquisitionFrameRate": 1}, read_timeout_s=0.2))
    with pytest.raises(SourceError, match=r"no picture for 0.2 s \(read_timeout_s\)"):
        list(source)


def test_pictures_beyond_the_wanted_rate_are_passed_over() -> None:
    first, *_, last = shots(camera(features={"AcquisitionFrameRate": 50}, fps=10), 4)
    assert (last.captured_at - first.captured_at).total_seconds() > 0.2


def test_who_passes_pictures_over_does_not_miss_them() -> None:
    with pytest.raises(ValidationError, match="read_timeout_s must be longer"):
        camera(fps=0.1, read_timeout_s=5)


def test_stop_gives_the_camera_back() -> None:
    stop = threading.Event()
    source = iter(open_source(camera(features={"AcquisitionFrameRate": 1})).images(stop))
    next(source)
    assert readers()
    stop.set()
    assert [found for found in source if isinstance(found, Unreadable)] == []
    assert not readers()


def test_a_worker_that_is_killed_leaves_no_reader_behind() -> None:
    code = (
        "import sys, threading; sys.path.insert(0, sys.argv[2]); from camera import viky;"
        "source = viky.images_of(viky.camera()); next(source); print(*viky.readers(), flush=True);"
        "threading.Event().wait()"
    )
    command = [sys.executable, "-c", code, "", str(Path(__file__).parents[1])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout
        reader = int(worker.stdout.readline())
        worker.kill()
    wait_until(lambda: not Path(f"/proc/{reader}").exists())


def test_check_says_what_it_sees() -> None:
    (sight,) = look_at_all([camera()])
    assert sight.usable
    assert sight.description.startswith("400 × 400, image/jpeg")
    assert not readers()


def test_check_finds_no_fault_with_a_camera_that_waits_for_its_trigger(monkeypatch: pytest.MonkeyPatch) -> None:
    """Played: Viky knows no trigger."""
    given_back = threading.Event()

    class Triggered:
        def images(self, stop: threading.Event) -> Iterator[Ready]:
            yield Ready()
            stop.wait(30)
            given_back.set()

    monkeypatch.setattr(check, "open_source", lambda _: Triggered())
    monkeypatch.setattr(check, "_PATIENCE_S", 0)
    (sight,) = look_at_all([camera(open_timeout_s=0.5)])
    assert (sight.usable, given_back.is_set()) == (True, True)
    assert "does it wait for a trigger?" in sight.description


@given(
    st.lists(
        st.builds(Message, st.sampled_from(Kind), st.binary(max_size=300), st.integers(0, 2**63), st.integers(0, 99))
    ),
    st.integers(1, 64),
)
def test_messages_arrive_as_they_were_sent(messages: list[Message], chunk: int) -> None:
    theirs, ours = os.pipe()
    with os.fdopen(ours, "wb", buffering=0) as ours_end, os.fdopen(theirs, "rb") as theirs_end:
        inbox, found = Inbox(theirs_end.fileno()), []
        sent = b"".join(message.pack() for message in messages)
        for at in range(0, len(sent), chunk):
            ours_end.write(sent[at : at + chunk])
            while message := inbox.next(0):
                found.append(message)
        ours_end.close()
        with pytest.raises(EOFError):
            inbox.next(1)
    assert found == messages
