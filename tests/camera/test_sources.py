"""A folder is replayed byte for byte, in step; a video is re-encoded; a source that fails comes back."""

import errno
import io
import os
import random
import re
import socket
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image as Pillow

from pipeline.events import from_ms
from pipeline.files.secret_file import SecretFile
from pipeline.topics import MAX_FRAME_BYTES
from workers.camera import check as check_module
from workers.camera.backoff import Backoff
from workers.camera.check import Sight, look_at_all
from workers.camera.config import FolderSource, Source, VideoSource
from workers.camera.sources import open_source
from workers.camera.sources import video as video_module
from workers.camera.sources.base import Image, SourceError, Unreadable
from workers.camera.sources.folder import FolderReplay
from workers.camera.sources.pace import Pace

pytestmark = pytest.mark.unit


def look(source: Source) -> Sight:
    (sight,) = look_at_all([source])
    return sight


def replay(folder: Path, frames: int | None = None, **settings: object) -> list[Image]:
    source = FolderReplay(FolderSource.model_validate({"type": "folder", "path": folder} | settings))
    found = list(islice(source.images(threading.Event()), frames))
    assert all(isinstance(image, Image) for image in found)
    return [image for image in found if isinstance(image, Image)]


def jpeg(seed: int) -> bytes:
    """320 × 240, so full of detail that half of it is half of the picture."""
    out = io.BytesIO()
    Pillow.effect_noise((320, 240), 10 + seed).convert("RGB").save(out, "JPEG")
    return out.getvalue()


@contextmanager
def mjpeg_camera(pictures: list[bytes]) -> Iterator[str]:
    """The address of a camera that sends these over HTTP, as cheap ones do, and then stops."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=next")
            self.end_headers()
            for each in pictures:
                head = f"--next\r\nContent-Type: image/jpeg\r\nContent-Length: {len(each)}\r\n\r\n"
                self.wfile.write(head.encode() + each + b"\r\n")

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def parts(found: list[Image]) -> list[str | None]:
    return [image.part_hint for image in found]


def test_files_are_sent_untouched_and_in_order(images: Path) -> None:
    (images / "notes.txt").write_text("not an image")
    (images / "deep").mkdir()
    (images / "deep" / "a.JPG").write_bytes(b"even bytes that are no image: a camera sends what it has")
    found = replay(images)
    assert parts(found) == ["deep/a.0", *(f"part-{number}.0" for number in range(6))]
    assert [image.content for image in found[1:]] == [path.read_bytes() for path in sorted(images.glob("*.png"))]
    assert [image.content_type for image in found[:2]] == ["image/jpeg", "image/png"]


def test_what_a_mac_or_a_share_hides_beside_images_is_none(images: Path) -> None:
    (images / "._part-0.png").write_bytes(b"what a Mac knows of part-0.png")
    (images / ".snapshot").mkdir()
    (images / ".snapshot" / "old.png").write_bytes(b"a copy")
    assert parts(replay(images)) == [f"part-{number}.0" for number in range(6)]


def test_folders_behind_links_are_gone_through_once_and_loops_end(images: Path, tmp_path: Path) -> None:
    apart = tmp_path / "apart"
    apart.mkdir()
    (images / "part-0.png").rename(apart / "z.png")
    (images / "linked").symlink_to(apart)
    (images / "linked again").symlink_to(apart)
    (apart / "back").symlink_to(images)
    assert parts(replay(images)) == ["linked/z.0", *(f"part-{number}.0" for number in range(1, 6))]


def test_a_loop_begins_anew_with_new_part_names(images: Path) -> None:
    assert parts(replay(images, 8, loop=True))[5:] == ["part-5.0", "part-0.1", "part-1.1"]


def test_parts_have_new_names_after_a_fault_too(images: Path, tmp_path: Path) -> None:
    """A share that was away between two rounds had each part named as in the first."""
    source = FolderReplay(FolderSource(type="folder", path=images, loop=True))
    replayed = source.images(threading.Event())
    first = list(islice(replayed, 6))
    images.rename(tmp_path / "away")
    with pytest.raises(SourceError, match="does not exist"):
        next(replayed)
    (tmp_path / "away").rename(images)
    again = list(islice(source.images(threading.Event()), 6))
    names = [image.part_hint for image in first + again if isinstance(image, Image)]
    assert names == [f"part-{number}.{turn}" for turn in (0, 1) for number in range(6)]


def test_the_same_seed_gives_the_same_order_and_every_round_another(images: Path) -> None:
    first, again = (parts(replay(images, 12, loop=True, shuffle_seed=7)) for _ in range(2))
    assert first == again
    rounds = [[str(part).split(".")[0] for part in first[at : at + 6]] for at in (0, 6)]
    assert rounds[0] != rounds[1]
    assert sorted(rounds[0]) == sorted(rounds[1])


def test_a_limit_ends_the_replay(images: Path) -> None:
    assert len(replay(images, loop=True, limit=8)) == 8


def test_of_a_huge_file_no_more_is_read_than_tells_that_it_is_too_large(images: Path) -> None:
    with (images / "b-huge.png").open("wb") as file:
        file.truncate(1 << 40)  # a hole: it takes no room on the disk
    sizes = [len(image.content) for image in replay(images)]
    assert max(sizes) == MAX_FRAME_BYTES + 1
    assert len(sizes) > 1


def lock(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for a service whose user may not list it; the tests may run as root."""
    listed = os.scandir

    def scandir(where: str) -> object:
        if Path(where) == folder:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(where))
        return listed(where)

    monkeypatch.setattr(os, "scandir", scandir)


def test_a_folder_that_may_not_be_listed_is_not_called_empty(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock(images, monkeypatch)
    with pytest.raises(SourceError, match=f"{re.escape(str(images))} can't be listed: Permission denied"):
        replay(images)


def test_a_folder_within_that_may_not_be_listed_is_told_once(
    images: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """And stops nobody: every disk has its lost+found."""
    (images / "lost+found").mkdir()
    lock(images / "lost+found", monkeypatch)
    replay(images, frames=7, loop=True)
    (told,) = [record.getMessage() for record in caplog.records]
    assert told == f"{images / 'lost+found'} is left out, for it can't be listed: Permission denied"


@pytest.mark.parametrize("folder", ["missing", "empty"])
def test_a_folder_without_images_is_named(tmp_path: Path, folder: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match=folder):
        replay(tmp_path / folder)


def test_pace_does_not_drift_when_the_work_takes_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock_s = [0.0]

    class Stop(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            clock_s[0] += timeout or 0
            return False

    monkeypatch.setattr("workers.camera.sources.pace.time", SimpleNamespace(monotonic=lambda: clock_s[0]))
    pace, stop = Pace(50), Stop()
    for _ in range(21):
        assert pace.wait(stop)
        clock_s[0] += 0.01
    assert clock_s[0] == pytest.approx(20 / 50 + 0.01)


def test_pace_ends_at_once_when_told_to() -> None:
    pace, stop = Pace(0.01), threading.Event()
    assert pace.wait(stop)
    threading.Timer(0.1, stop.set).start()
    started = time.monotonic()
    assert not pace.wait(stop)
    assert time.monotonic() - started < 90  # of 100


def test_backoff_doubles_up_to_its_limit_with_jitter() -> None:
    backoff = Backoff(1, 8, random.Random(1))
    waits = [backoff.next_s() for _ in range(6)]
    for wait, middle in zip(waits, (1, 2, 4, 8, 8, 8), strict=True):
        assert 0.75 * middle <= wait <= 1.25 * middle
    backoff.reset()
    assert backoff.next_s() <= 1.25


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty frames of 64 × 48, each one brighter than the one before."""
    av = pytest.importorskip("av")
    path = tmp_path_factory.mktemp("video") / "line.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=100)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(20):
            frame = av.VideoFrame.from_image(Pillow.new("RGB", (64, 48), (10 * number,) * 3))
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize(("encode", "content_type"), [("jpeg", "image/jpeg"), ("png", "image/png")])
def test_a_video_file_becomes_images(video: Path, encode: str, content_type: str) -> None:
    source = open_source(VideoSource.model_validate({"type": "video", "url": str(video), "encode": encode}))
    found = list(source.images(threading.Event()))
    assert len(found) == 20
    brightness = []
    for image in found:
        assert isinstance(image, Image)
        assert image.content_type == content_type
        with Pillow.open(io.BytesIO(image.content)) as picture:
            assert picture.size == (64, 48)
            brightness.append(picture.convert("L").getpixel((32, 24)))
    assert brightness == sorted(brightness)


def test_what_is_drawn_upon_a_damaged_picture_is_none(tmp_path: Path) -> None:
    """Each picture of H.264 tells what has changed since the one before, up to the next key frame: what a torn one
    left gray stays gray, and a decoder does not say so."""
    av = pytest.importorskip("av")
    path = tmp_path / "line.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream(
            "libx264", rate=100, options={"tune": "zerolatency", "g": "10", "sc_threshold": "0"}
        )
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for number in range(20):
            noise = Pillow.effect_noise((320, 240), 10 + number).convert("RGB")
            for packet in stream.encode(av.VideoFrame.from_image(noise)):
                if number == 4:
                    torn = av.Packet(bytes(packet)[: packet.size // 2])
                    torn.pts, torn.dts, torn.time_base, torn.stream = packet.pts, packet.dts, packet.time_base, stream
                    packet = torn
                container.mux(packet)
        container.mux(stream.encode())
    found = list(open_source(VideoSource(type="video", url=str(path))).images(threading.Event()))
    assert [type(one) for one in found] == [Image] * 4 + [Unreadable] * 6 + [Image] * 10


def test_a_video_file_plays_at_its_own_rate_or_the_one_asked_for(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rates: list[float | None] = []

    def unhurried(fps: float | None) -> Pace:
        rates.append(fps)
        return Pace(None)

    monkeypatch.setattr("workers.camera.sources.video.Pace", unhurried)
    for fps in (None, 50):
        source = open_source(VideoSource.model_validate({"type": "video", "url": str(video), "fps": fps}))
        assert len(list(source.images(threading.Event()))) == 20
    assert rates == [100, 50]


def with_sound_before_the_picture(folder: Path) -> Path:
    av = pytest.importorskip("av")
    path = folder / "line.mkv"
    with av.open(str(path), "w") as container:
        sound, stream = container.add_stream("mp2", rate=48_000), container.add_stream("libx264", rate=100)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        silence = av.AudioFrame(format="s16", layout="stereo", samples=1152)
        silence.sample_rate = 48_000
        container.mux(sound.encode(silence))
        for number in range(20):
            container.mux(stream.encode(av.VideoFrame.from_image(Pillow.new("RGB", (64, 48), (10 * number,) * 3))))
        container.mux(stream.encode())
    return path


def with_a_track_of_its_clock(folder: Path) -> Path:
    av = pytest.importorskip("av")
    path = folder / "line.mov"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=100)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.metadata["timecode"] = "10:00:00:00"
        for number in range(20):
            container.mux(stream.encode(av.VideoFrame.from_image(Pillow.new("RGB", (64, 48), (10 * number,) * 3))))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize("written", [with_sound_before_the_picture, with_a_track_of_its_clock])
def test_a_video_file_ends_with_its_last_picture_whatever_else_is_in_it(
    written: Callable[[Path], Path], tmp_path: Path
) -> None:
    """What empties the decoder at the end was taken for another stream's, and another's for it."""
    found = list(open_source(VideoSource(type="video", url=str(written(tmp_path)))).images(threading.Event()))
    assert [type(one) for one in found] == [Image] * 20


def test_a_stream_that_does_not_answer_is_named_without_its_password() -> None:
    pytest.importorskip("av")
    source = open_source(VideoSource(type="video", url="rtsp://user:secret@127.0.0.1:1/line", open_timeout_s=2))
    with pytest.raises(SourceError, match=r"rtsp://…@127\.0\.0\.1:1/line") as refused:
        next(source.images(threading.Event()))
    assert "secret" not in str(refused.value)


def test_a_name_that_no_dns_knows_is_told_of_as_one() -> None:
    """FFmpeg's words were "Input/output error": people looked at the disk."""
    pytest.importorskip("av")
    source = open_source(VideoSource(type="video", url="rtsp://nobody.invalid/line"))
    with pytest.raises(SourceError, match=r"rtsp://nobody\.invalid/line: its name is unknown here"):
        next(source.images(threading.Event()))


def test_a_dns_that_does_not_answer_keeps_no_source_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """For words of what had failed it was asked again, tens of seconds, and nobody could stop the worker meanwhile."""
    pytest.importorskip("av")
    answer = threading.Event()
    monkeypatch.setattr("socket.getaddrinfo", lambda *_: answer.wait(30))
    source = open_source(VideoSource(type="video", url="rtsp://nobody.invalid/line"))
    with pytest.raises(SourceError, match="its name is unknown here; is it right, and does the DNS answer"):
        next(source.images(threading.Event()))
    answer.set()


def test_a_live_picture_amid_whose_encoding_the_worker_froze_does_not_pass_for_new(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It was stamped once it was encoded, with the moment at which the worker went on."""
    pytest.importorskip("av")
    clock_ms, encoded = 0, video_module.encoded

    def after_a_freeze(*what: Any) -> bytes:
        nonlocal clock_ms
        clock_ms += 20_000
        return encoded(*what)

    monkeypatch.setattr(video_module, "now", lambda: from_ms(clock_ms))
    monkeypatch.setattr(video_module, "encoded", after_a_freeze)
    with mjpeg_camera([jpeg(0), jpeg(1), jpeg(2)]) as url:
        source = open_source(VideoSource(type="video", url=url, open_timeout_s=60, read_timeout_s=60))
        first = next(source.images(threading.Event()))
    assert isinstance(first, Image)
    assert (first.captured_at, clock_ms) == (from_ms(0), 20_000)


def test_pictures_in_a_codec_that_nobody_knows_are_a_fault_of_the_source(tmp_path: Path) -> None:
    """It ended in a trace at each attempt."""
    av, path = pytest.importorskip("av"), tmp_path / "line.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.mux(stream.encode(av.VideoFrame.from_image(Pillow.new("RGB", (64, 48)))))
    path.write_bytes(path.read_bytes().replace(b"FMP4", b"zzzz"))
    with pytest.raises(SourceError, match="codec is unknown"):
        next(open_source(VideoSource(type="video", url=str(path))).images(threading.Event()))


def test_a_camera_that_hangs_amid_its_greeting_is_told_of_as_one() -> None:
    """FFmpeg's words were "Invalid data found when processing input": people looked at the codec."""
    pytest.importorskip("av")
    with socket.create_server(("127.0.0.1", 0)) as hangs:
        url = f"rtsp://127.0.0.1:{hangs.getsockname()[1]}/line"
        source = open_source(VideoSource(type="video", url=url, open_timeout_s=1))
        with pytest.raises(SourceError, match=r"no answer in 1 s \(open_timeout_s\)"):
            next(source.images(threading.Event()))


def test_a_camera_that_sends_sound_on_and_no_picture_is_told_of_as_one_that_hangs() -> None:
    """FFmpeg was content with the sound, so the camera passed for connected for as long as that went on."""
    pytest.importorskip("av")
    content = sound_after_pictures()
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=send_slowly, args=(server, content), daemon=True).start()
        url = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        source = open_source(VideoSource(type="video", url=url, open_timeout_s=30, read_timeout_s=1))
        with pytest.raises(SourceError, match=r"no picture for 1 s \(read_timeout_s\)"):
            list(source.images(threading.Event()))


def sound_after_pictures() -> bytes:
    """An MPEG-TS: one second of pictures, ten of sound."""
    av = pytest.importorskip("av")
    out = io.BytesIO()
    with av.open(out, "w", format="mpegts", container_options={"max_interleave_delta": "1"}) as container:
        pictures, sound = container.add_stream("mpeg2video", rate=25), container.add_stream("mp2", rate=48_000)
        pictures.width, pictures.height, pictures.pix_fmt = 64, 48, "yuv420p"
        for number in range(25):
            container.mux(pictures.encode(av.VideoFrame.from_image(Pillow.new("RGB", (64, 48), (9 * number,) * 3))))
        for number in range(417):
            silence = av.AudioFrame(format="s16", layout="stereo", samples=1152)
            silence.sample_rate, silence.pts, silence.time_base = 48_000, 1152 * number, Fraction(1, 48_000)
            container.mux(sound.encode(silence))
    return out.getvalue()


def send_slowly(server: socket.socket, content: bytes) -> None:
    """To the first that calls; until it has gone."""
    peer, _ = server.accept()
    with peer, suppress(OSError):
        for start in range(0, len(content), len(content) // 500):
            peer.sendall(content[start : start + len(content) // 500])
            time.sleep(0.02)


def test_a_torn_picture_of_a_stream_is_no_picture() -> None:
    """A decoder fills the rest of a torn JPEG with grey, and that looks like a defect."""
    pytest.importorskip("av")
    whole = jpeg(1)
    with mjpeg_camera([whole, whole[: len(whole) // 2], jpeg(2), jpeg(3)]) as url:
        source = open_source(VideoSource(type="video", url=url, open_timeout_s=5, read_timeout_s=5))
        found = list(islice(source.images(threading.Event()), 4))
    assert [type(image) for image in found] == [Image, Unreadable, Image, Image]


def test_a_login_that_is_no_text_is_a_fault_of_the_source(tmp_path: Path) -> None:
    pytest.importorskip("av")
    for name in ("username", "password"):
        (tmp_path / name).write_bytes(b"\xff\xfe")
    sight = look(VideoSource(type="video", url="rtsp://127.0.0.1:1/line", login=tmp_path))
    assert not sight.usable


@pytest.mark.parametrize(("pixels", "why"), [(10_000, "10000 × 10000 pixels"), (60_000, "pixels")])
def test_a_check_finds_unusable_what_no_replica_takes(tmp_path: Path, pixels: int, why: str) -> None:
    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", pixels, pixels, 8, 0, 0, 0, 0))
    (tmp_path / "a.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    )
    sight = look(FolderSource(type="folder", path=tmp_path))
    assert not sight.usable
    assert why in sight.description


def test_a_check_finds_unusable_what_is_torn_and_names_the_file(images: Path) -> None:
    first = min(images.iterdir())
    first.write_bytes(first.read_bytes()[: first.stat().st_size // 2])
    sight = look(FolderSource(type="folder", path=images))
    assert not sight.usable
    assert repr(first.stem) in sight.description


def test_a_check_waits_for_no_source_that_hangs_and_looks_at_the_others_meanwhile(
    images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check_module, "_PATIENCE_S", 3.0)
    share = threading.Event()

    class OnAShare:
        def images(self, stop: threading.Event) -> Iterator[Image | Unreadable]:
            share.wait(60)
            yield Unreadable("too late")

    good, hung = (FolderSource(type="folder", path=path) for path in (images, images / "hung"))
    monkeypatch.setattr(
        check_module, "open_source", lambda source: OnAShare() if source is hung else FolderReplay(source)
    )
    sights = look_at_all([hung, good, hung])
    share.set()
    assert [sight.usable for sight in sights] == [False, True, False]
    assert "nothing in 3 s" in sights[0].description


def test_a_check_tells_what_a_source_shows(images: Path, tmp_path: Path, video: Path) -> None:
    sight = look(FolderSource(type="folder", path=images))
    assert sight.usable
    assert "32 × 32, image/png" in sight.description
    assert "64 × 48" in look(VideoSource(type="video", url=str(video))).description
    (images / "a.png").write_bytes(b"no image")
    assert not look(FolderSource(type="folder", path=images)).usable
    assert "does not exist" in look(FolderSource(type="folder", path=tmp_path / "none")).description


def test_a_video_login_comes_from_files_and_is_quoted(tmp_path: Path) -> None:
    from workers.camera.sources.video import address

    files = [tmp_path / "username", tmp_path / "password"]
    for file, text in zip(files, ("viewer\n", "p@ss/word\n"), strict=True):
        file.write_text(text)
    url = address("rtsp://10.0.0.1:554/stream1", [SecretFile(file) for file in files])
    assert url == "rtsp://viewer:p%40ss%2Fword@10.0.0.1:554/stream1"
    assert "p@ss" not in repr(VideoSource(type="video", url="rtsp://10.0.0.1:554/stream1", login=tmp_path))


def test_a_login_goes_to_the_query_where_the_camera_wants_it_there(tmp_path: Path) -> None:
    from workers.camera.sources.video import address

    files = [tmp_path / "username", tmp_path / "password"]
    for file, text in zip(files, ("{password}\n", "p@ss&x=1\n"), strict=True):
        file.write_text(text)
    url = "http://10.0.0.1/video?user={username}&pwd={password}&fps=5"
    filled = "http://10.0.0.1/video?user=%7Bpassword%7D&pwd=p%40ss%26x%3D1&fps=5"
    assert address(url, [SecretFile(file) for file in files]) == filled
