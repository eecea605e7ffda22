"""What is drawn upon a picture that was torn or lost on the way passes for none: a ghost would be a defect, or hide
one. Real streams, as a camera sends them, of which the network loses some."""

import io
import socket
import threading
from collections.abc import Container, Iterator
from contextlib import contextmanager, nullcontext
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from workers.camera.config import VideoSource
from workers.camera.sources import open_source
from workers.camera.sources.base import Image, SourceError, Unreadable

av: Any = pytest.importorskip("av")

video = pytest.importorskip("workers.camera.sources.video")

pytestmark = pytest.mark.unit

WIDTH, HEIGHT = 320, 240
DATAGRAM = 7 * 188
BLOCK = 16
SHORT = {"g": "10", "bf": "0", "sc_threshold": "0", "x265-params": "keyint=10:bframes=0:scenecut=0:log-level=none"}


@cache
def drawn(number: int) -> np.ndarray:
    """A part that moves, before a rough background."""
    picture = np.random.default_rng(1).integers(0, 64, (HEIGHT, WIDTH), dtype=np.uint8)
    picture[60:120, number * 7 % 240 : number * 7 % 240 + 60] = 200
    return picture


def encoded(
    codec: str,
    container: str,
    pictures: int,
    options: dict[str, str],
    torn: Container[int] = (),
    lost: Container[int] = (),
) -> bytes:
    """torn, lost: packets, by their place in the stream; of a torn one a datagram is missing."""
    out = io.BytesIO()
    with av.open(out, "w", format=container) as file:
        stream = file.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        shown = [np.repeat(drawn(number)[:, :, None], 3, 2) for number in range(pictures)]
        frames = [av.VideoFrame.from_ndarray(picture, "rgb24") for picture in shown]
        for place, packet in enumerate(packet for frame in [*frames, None] for packet in stream.encode(frame)):
            if place in torn:
                packet = _without_a_datagram(packet, stream)
            if place not in lost:
                file.mux(packet)
    return out.getvalue()


@cache
def whole_ts(codec: str) -> bytes:
    return encoded(codec, "mpegts", 40, SHORT)


def _without_a_datagram(packet: Any, stream: Any) -> Any:
    content = bytes(packet)
    torn = av.Packet(content[: len(content) // 2] + content[len(content) // 2 + DATAGRAM :])
    torn.pts, torn.dts, torn.time_base, torn.stream = packet.pts, packet.dts, packet.time_base, stream
    return torn


@contextmanager
def live(content: bytes) -> Iterator[str]:
    """The address of a camera that sends this, and then ends."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def send() -> None:
            peer, _ = server.accept()
            with peer:
                peer.sendall(content)

        thread = threading.Thread(target=send, daemon=True)
        thread.start()
        yield f"tcp://127.0.0.1:{server.getsockname()[1]}"
        thread.join()


def all_of(url: str) -> list[Image | Unreadable]:
    """Up to its end."""
    a_file = Path(url).exists()
    fps = 1000 if a_file else None
    source = open_source(VideoSource(type="video", url=url, encode="png", open_timeout_s=30, fps=fps))
    found = []
    with nullcontext() if a_file else pytest.raises(SourceError, match="the stream ended"):
        for image in source.images(threading.Event()):
            assert isinstance(image, Image | Unreadable)
            found.append(image)
    return found


def ghosts(found: list[Image | Unreadable], pictures: int) -> int:
    """How many are like none of those that were drawn."""
    originals = np.stack([_in_blocks(drawn(number)) for number in range(pictures)])
    shown = [_in_blocks(_gray(image.content)) for image in found if isinstance(image, Image)]
    return sum(np.abs(originals - one).max(axis=(1, 2)).min() > 40 for one in shown)


def _gray(content: bytes) -> np.ndarray:
    with Pillow.open(io.BytesIO(content)) as shown:
        return np.asarray(shown.convert("L"))


def _in_blocks(picture: np.ndarray) -> np.ndarray:
    blocks = picture.astype(float).reshape(HEIGHT // BLOCK, BLOCK, WIDTH // BLOCK, BLOCK)
    return np.asarray(blocks.mean(axis=(1, 3)))


def in_units(found: list[Image | Unreadable]) -> str:
    return "".join("." if isinstance(one, Image) else "u" for one in found)


def test_a_torn_picture_of_a_live_stream_is_none_nor_are_those_that_are_drawn_upon_it() -> None:
    """Threads that share a picture keep FFmpeg from saying that it could not make it out."""
    with live(encoded("libx264", "h264", 30, SHORT, torn={10})) as url:
        found = all_of(url)
    assert in_units(found) == "." * 10 + "u" * 10 + "." * 10


@pytest.mark.parametrize("first", [25, 32, 40])
@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_what_an_mpeg_ts_tells_of_lost_datagrams_is_heard(codec: str, first: int) -> None:
    """UDP and SRT carry it. A decoder makes a picture of most of what is left."""
    content = whole_ts(codec)
    torn = content[: first * DATAGRAM] + content[(first + 1) * DATAGRAM :]
    with live(torn) as url:
        found = all_of(url)
    assert ghosts(found, 40) == 0
    assert in_units(found).endswith(".")


def test_without_its_key_frame_a_row_of_pictures_is_none() -> None:
    with live(encoded("libx264", "flv", 40, SHORT, lost={10})) as url:
        found = all_of(url)
    assert ghosts(found, 40) == 0
    assert in_units(found).endswith("u" + "." * 20)


@pytest.mark.parametrize("lost", [3, 14])
@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_what_is_drawn_upon_a_lost_picture_is_counted_as_unreadable(codec: str, lost: int) -> None:
    """Of H.264 a decoder puts another in its place, and of H.265 it kept all to itself that follow."""
    with live(encoded(codec, {"libx264": "flv", "libx265": "mpegts"}[codec], 40, SHORT, lost={lost})) as url:
        found = all_of(url)
    spoilt = 9 - lost % 10
    assert in_units(found) == "." * lost + "u" * spoilt + "." * (40 - lost - spoilt - 1)


def test_a_live_stream_without_key_frames_is_opened_anew_after_a_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is refreshed bit by bit has but its first, and FFmpeg says only of a new one when it is whole."""
    monkeypatch.setattr(video, "_KEY_FRAME_S", 0.0)
    content = encoded("libx264", "flv", 40, {"intra-refresh": "1", "g": "20", "bf": "0"}, lost={10})
    with live(content) as url, pytest.raises(SourceError, match="no key frame that can be decoded for 0 s"):
        list(open_source(VideoSource(type="video", url=url, open_timeout_s=30)).images(threading.Event()))


@pytest.mark.parametrize(
    ("before", "after", "told"), [("libx264", "libx265", "Invalid data"), ("mpeg2video", "libx264", "makes no picture")]
)
def test_a_live_stream_that_goes_on_in_another_codec_is_opened_anew(
    before: str, after: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As that of a camera that is set to H.265 and goes on sending to the same group. Each of its pictures was
    unreadable for as long as the stream went on; or counted nowhere, and the camera called connected, where its decoder
    says nothing."""
    rough = {"g": "10", "bf": "0"}
    first = whole_ts(before) if before == "libx264" else encoded(before, "mpegts", 40, rough)
    content = first + whole_ts(after)
    with live(content) as url:
        images = open_source(VideoSource(type="video", url=url, open_timeout_s=30)).images(threading.Event())
        came = []
        for image in images:
            came.append(image)
            if isinstance(image, Unreadable) and told in image.detail:
                break
        missing = sum(image.frames for image in came if isinstance(image, Unreadable))
        whole = sum(isinstance(image, Image) for image in came)
        assert 37 <= whole <= 40
        assert missing >= 1 if after == "libx265" else missing >= 17
        monkeypatch.setattr(video, "_KEY_FRAME_S", 0.0)  # so long it has lasted by now
        with pytest.raises(SourceError, match="opened anew"):
            list(images)


def test_an_encoder_that_is_set_anew_amid_a_stream_loses_nothing(tmp_path: Path) -> None:
    """It numbers its pictures in other ways, and RTMP tells so beside them."""
    long, short = (encoded("libx264", "flv", 40, SHORT | {"refs": refs}) for refs in ("16", "1"))
    (tmp_path / "line").write_bytes(long + short[13:])  # the head of the file
    assert in_units(all_of(str(tmp_path / "line"))) == "." * 80


@pytest.mark.parametrize("container", ["mp4", "mpegts", "h264"])
@pytest.mark.parametrize(
    "options",
    [
        {"bf": "3", "b-pyramid": "normal", "refs": "4"},
        {"bf": "3", "b-pyramid": "none", "g": "7"},
        {"intra-refresh": "1", "g": "20"},
        {"x264-params": "open-gop=1:bframes=2:keyint=12"},
        {"x264-params": "slices=4:keyint=infinite"},
        {"x264-params": "tff=1:bframes=2:b-pyramid=normal"},
        {"profile": "baseline", "g": "33"},
        {"g": "1"},
    ],
    ids=lambda options: ",".join(map("=".join, options.items())),
)
def test_nothing_is_missed_in_a_whole_stream(options: dict[str, str], container: str, tmp_path: Path) -> None:
    (tmp_path / "line").write_bytes(encoded("libx264", container, 40, options))
    assert in_units(all_of(str(tmp_path / "line"))) == "." * 40
