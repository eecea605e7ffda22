"""The video source and a real RTSP server: `tests/support/rtsp_camera.py`."""

import io
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import support
from PIL import Image as Pillow
from support.waiting import wait_until

from pipeline.boot_time import boot_time_s
from workers.camera.config import VideoSource
from workers.camera.sources import open_source, video
from workers.camera.sources.base import Image, ImageSource, SourceError

pytestmark = pytest.mark.services

CAMERA = Path(support.__file__).with_name("rtsp_camera.py")
PYTHON = "/usr/bin/python3"
NEEDED = (
    "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import Gst, GstRtspServer; "
    "Gst.init(None); assert all(map(Gst.ElementFactory.find, ('x264enc', 'rtph264pay', 'rtpjpegpay')))"
)
BITS = 16
STALE_S = 1.5
"""Before, the first picture was 2.8 s old, however often the camera was opened. A busy machine takes its time to decode
some of them."""


@lru_cache
def has_gstreamer() -> bool:
    try:
        return subprocess.run([PYTHON, "-c", NEEDED], capture_output=True, timeout=60, check=False).returncode == 0
    except OSError:
        return False


@contextmanager
def rtsp_camera(*options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    pytest.importorskip("av")
    if not has_gstreamer():
        reason = "needs gir1.2-gst-rtsp-server-1.0, python3-gi, gstreamer1.0-plugins-good and -ugly"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    with subprocess.Popen([PYTHON, str(CAMERA), *options], stdout=subprocess.PIPE, text=True) as camera:
        try:
            assert camera.stdout
            yield camera, f"rtsp://127.0.0.1:{int(camera.stdout.readline())}/line"
        finally:
            camera.kill()


def source_of(url: str, **options: object) -> ImageSource:
    return open_source(VideoSource.model_validate({"type": "video", "url": url, **options}))


def age_s(image: Image) -> float:
    """By the bars that the picture shows, when it was stamped."""
    with Pillow.open(io.BytesIO(image.content)) as picture:
        gray = np.asarray(picture.convert("L"))
    shown = 0
    for bar in np.split(gray, BITS, axis=1):
        shown = shown * 2 + int(bar[:, 3:-3].mean() > 128)
    return ((int(image.captured_at.timestamp() * 1000) - shown) % (1 << BITS)) / 1000


@pytest.mark.parametrize("codec", ["h264", "mjpeg"])
def test_no_picture_of_a_camera_is_stamped_as_newer_than_it_is(codec: str) -> None:
    """What FFmpeg had gathered while it opened the stream came first, all of it stamped with that moment."""
    ages: list[list[float]] = []

    def fresh() -> bool:
        """One that is torn, or a camera that a busy machine loses, is no fault of what is looked at here."""
        with suppress(SourceError):
            images = list(islice(source_of(url).images(threading.Event()), 15))
            ages.append([age_s(image) for image in images if isinstance(image, Image)])
            return len(ages[-1]) == len(images) and max(ages[-1]) < STALE_S
        return False

    with rtsp_camera("--codec", codec) as (_, url):
        try:
            wait_until(fresh)
        except AssertionError:
            pytest.fail(f"of all attempts, how old each picture was, in seconds: {ages}")


def test_what_came_while_the_worker_was_frozen_does_not_pass_for_new(monkeypatch: pytest.MonkeyPatch) -> None:
    """Frozen amid a picture, it sent those of 20 s, each stamped as just taken: parts long gone could stop a line."""
    frozen_s = 0.0
    monkeypatch.setattr(video, "boot_time_s", lambda: boot_time_s() + frozen_s)
    with rtsp_camera() as (_, url):
        images = iter(source_of(url).images(threading.Event()))
        next(images)
        frozen_s = 20
        with pytest.raises(SourceError, match=r"no picture for 5 s .*, or this worker was held up"):
            next(images)


def test_a_camera_asks_for_its_login_and_a_refusal_names_no_password(tmp_path: Path) -> None:
    (tmp_path / "username").write_text("viewer\n")
    (tmp_path / "password").write_text("p@ss/w:rd\n")
    with rtsp_camera("--user", "viewer", "--password", "p@ss/w:rd") as (_, url):
        assert isinstance(next(iter(source_of(url, login=tmp_path).images(threading.Event()))), Image)
        (tmp_path / "password").write_text("mistaken")
        with pytest.raises(SourceError, match="files of `login`") as refused:
            next(iter(source_of(url, login=tmp_path).images(threading.Event())))
    assert "mistaken" not in str(refused.value)


def test_a_camera_that_speaks_udp_alone_is_told_of_as_such() -> None:
    """FFmpeg's words were "Protocol not supported"."""
    with rtsp_camera("--udp") as (_, url), pytest.raises(SourceError, match="no RTSP over TCP"):
        next(iter(source_of(url).images(threading.Event())))


def test_a_camera_that_freezes_is_told_of_and_one_that_ends_too() -> None:
    with rtsp_camera() as (camera, url):
        images = source_of(url, read_timeout_s=1).images(threading.Event())
        next(iter(images))
        camera.send_signal(signal.SIGSTOP)
        with pytest.raises(SourceError, match=r"no picture for 1 s \(read_timeout_s\)"):
            list(images)
        camera.send_signal(signal.SIGCONT)
        images = source_of(url).images(threading.Event())
        next(iter(images))
        camera.kill()
        with pytest.raises(SourceError, match="video rtsp://127"):
            list(images)
