"""What is drawn upon a picture that was torn or lost on the way passes for none: a ghost would be a defect, or hide
one. Real streams, as a camera sends them, of which the network loses some."""

import io
import socket
import threading
from collections.abc import Container, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from workers.camera.config import VideoSource
from workers.camera.sources import open_source
from workers.camera.sources.base import Image, SourceError, Unreadable

av: Any = pytest.importorskip("av")

pytestmark = pytest.mark.unit

WIDTH, HEIGHT = 320, 240
DATAGRAM = 7 * 188
SHORT = {"g": "10", "bf": "0", "sc_threshold": "0", "x265-params": "keyint=10:bframes=0:scenecut=0:log-level=none"}


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


def in_units(found: list[Image | Unreadable]) -> str:
    return "".join("." if isinstance(one, Image) else "u" for one in found)


def test_a_torn_picture_of_a_live_stream_is_none_nor_are_those_that_are_drawn_upon_it() -> None:
    """Threads that share a picture keep FFmpeg from saying that it could not make it out."""
    with live(encoded("libx264", "h264", 30, SHORT, torn={10})) as url:
        found = all_of(url)
    assert in_units(found) == "." * 10 + "u" * 10 + "." * 10
