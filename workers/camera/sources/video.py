"""Video files and live streams (RTSP, HTTP, devices) through PyAV."""

import errno
import re
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote, urlsplit

import av
from av.error import ExitError, FFmpegError, HTTPUnauthorizedError

from pipeline import apart
from pipeline.addresses import without_password
from pipeline.boot_time import boot_time_s
from pipeline.events import now
from pipeline.files.secret_file import SecretFile
from workers.camera.config import VideoSource
from workers.camera.sources.base import CONTENT_TYPES, Image, SourceError, Unreadable
from workers.camera.sources.encoding import encoded
from workers.camera.sources.pace import Pace
from workers.camera.sources.soundness import Soundness

_LIVE = re.compile(r"^(rtsp|rtsps|rtmp|http|https|udp|tcp|srt)://", re.IGNORECASE)
_GATHERED = re.compile(r"^(rtsp|rtsps|rtmp|udp|srt)://", re.IGNORECASE)
"""Of these FFmpeg needs many pictures before it knows the stream; of JPEG over HTTP one or two."""

PASSWORD_GOES = "{password}"
"""For cameras that want it in the query."""
_NEVER = float("inf")
_DNS_S = 2.0
_KEY_FRAME_S = 20.0
"""Longer than cameras are from one to the next; some send none but the first, and refresh the picture bit by bit."""

_HELD_BACK = 16
"""Pictures that a decoder may keep to itself, to give them out in their order: no codec has it keep more."""


class VideoCapture:
    def __init__(self, config: VideoSource) -> None:
        self._config = config
        self._login: Sequence[SecretFile] = ()
        """User and password, once they could be read."""
        self._live = bool(_LIVE.match(config.url))
        self._shown = without_password(config.url)
        self._no_picture = f"no picture for {config.read_timeout_s:g} s (read_timeout_s)"

    def images(self, stop: threading.Event) -> Iterator[Image | Unreadable]:
        waited = f"no answer in {self._config.open_timeout_s:g} s (open_timeout_s)"
        open_by_s = time.monotonic() + self._config.open_timeout_s
        try:
            with self._open() as container:
                waited, open_by_s = self._no_picture, _NEVER
                yield from self._decode(container, stop)
        except (FFmpegError, OSError) as error:
            # What PyAV's time-outs do FFmpeg calls an exit, but amid the greetings of RTSP "invalid data".
            hung = isinstance(error, ExitError) or time.monotonic() >= open_by_s
            raise SourceError(f"video {self._shown}: {waited if hung else self._in_words(error)}") from error
        if self._live and not stop.is_set():
            raise SourceError(f"video {self._shown}: the stream ended")

    def _in_words(self, error: FFmpegError | OSError) -> str:
        """Where FFmpeg's say nothing of what to do, or something else."""
        if isinstance(error, HTTPUnauthorizedError):
            return "it refuses the user or the password, or asks for them: they are in the files of `login`"
        if error.errno == errno.EPROTONOSUPPORT and self._live:
            return "it offers no RTSP over TCP; switch that on (UDP loses pictures unseen)"
        if error.errno == errno.EIO and self._live and not _has_address(self._config.url):
            return "its name is unknown here; is it right, and does the DNS answer?"
        return error.strerror or str(error)

    def _open(self) -> Any:
        timeouts = (self._config.open_timeout_s, self._config.read_timeout_s)
        if self._config.login and not self._login:
            self._login = [SecretFile(self._config.login / name) for name in ("username", "password")]
        url = address(self._config.url, self._login)
        return av.open(url, options=options_for(self._config.url), timeout=timeouts)

    def _decode(self, container: Any, stop: threading.Event) -> Iterator[Image | Unreadable]:
        known = [stream for stream in container.streams.video if stream.codec_context]
        if not known:
            what = "its codec is unknown" if container.streams.video else "there is no picture in it"
            raise SourceError(f"video {self._shown}: {what}")
        stream = known[0]
        if self._live:
            # A thread for each frame holds back as many frames as there are cores, seconds at 5 frames/s; threads that
            # share a frame keep FFmpeg from noticing that one of H.264 is torn.
            stream.codec_context.thread_count = 1
        else:
            stream.thread_type = "AUTO"
        if stream.codec_context.name == "mjpeg":
            # Left alone, the decoder fills the rest of a torn picture with grey, and that looks like a defect.
            stream.codec_context.options = {"err_detect": "explode"}
        pace = Pace(self._config.fps or (None if self._live else float(stream.average_rate or 25)))
        soundness = Soundness(stream.codec_context)
        sound_at_s = _NEVER  # a stream may be joined long before its first key frame
        swallowed = 0
        for packet in self._packets(container, stream, stop):
            came_at = now()  # not once it is encoded: a worker that was frozen meanwhile would have it pass for new
            soundness.follow(packet)
            try:
                frames = packet.decode()
            except FFmpegError as error:
                soundness.failed()
                yield Unreadable(f"video {self._shown}: {error.strerror}")
                self._despair(sound_at_s)
                continue
            swallowed = 0 if frames else swallowed + 1
            if self._live and swallowed > _HELD_BACK and sound_at_s != _NEVER:  # MPEG-2's takes H.264 without a word
                lost = swallowed if swallowed == _HELD_BACK + 1 else 1
                yield Unreadable(f"video {self._shown}: its decoder makes no picture of what comes", lost)
                self._despair(sound_at_s)
            for frame in frames:
                sound = soundness.of(frame)
                if sound or sound_at_s == _NEVER:
                    sound_at_s = time.monotonic()
                if self._live:
                    if self._config.fps and pace.skip():
                        continue
                elif not pace.wait(stop):
                    return
                if not sound:
                    yield Unreadable(f"video {self._shown}: damaged, or drawn upon one that is damaged or lost")
                    self._despair(sound_at_s)
                    continue
                content = encoded(frame.to_image(), self._config.encode, self._config.quality)
                yield Image(content, CONTENT_TYPES[self._config.encode], came_at if self._live else now())

    def _packets(self, container: Any, stream: Any, stop: threading.Event) -> Iterator[Any]:
        """Of the pictures. FFmpeg is content with any other, and a camera whose encoder hangs may send sound on, or
        what it tells of itself. And where this process was frozen, what has come meanwhile would pass for new."""
        pictured_at_s = boot_time_s()
        for packet in container.demux():
            if stop.is_set():
                return
            if self._live and boot_time_s() - pictured_at_s > self._config.read_timeout_s:
                raise SourceError(f"video {self._shown}: {self._no_picture}, or this worker was held up")
            # Not packet.stream_index, which is 0 for the last of any stream, that empties its decoder.
            if packet.stream.index == stream.index:
                pictured_at_s = boot_time_s()
                yield packet

    def _despair(self, sound_at_s: float) -> None:
        """Of a live stream that will not heal: it has no key frames, or its camera was set to another codec."""
        if self._live and time.monotonic() - sound_at_s > _KEY_FRAME_S:
            raise SourceError(
                f"video {self._shown}: a picture was damaged or lost, and no key frame that can be decoded for "
                f"{_KEY_FRAME_S:g} s; it is opened anew"
            )


def options_for(url: str) -> dict[str, str]:
    """FFmpeg's. What arrives while it looks into a live stream would otherwise be handed out at once when it is done,
    and be taken for pictures of that moment: 25 of them, up to 3 s old."""
    options = {}
    if url.lower().startswith("rtsp"):
        options["rtsp_transport"] = "tcp"  # UDP loses packets silently, and half a frame looks like a defect
    if _LIVE.match(url):
        options["fpsprobesize"] = "0"
    if _GATHERED.match(url):
        options["fflags"] = "nobuffer"
    return options


def _has_address(url: str) -> bool:
    """By then: a DNS that does not answer takes tens of seconds to be given up."""
    look_up = apart.begin(lambda: socket.getaddrinfo(urlsplit(url).hostname, None), "look-up")
    try:
        look_up.result(_DNS_S)
    except OSError:  # a TimeoutError is one
        return False
    except ValueError:  # what is no URL
        return True
    return True


def address(url: str, login: Sequence[SecretFile]) -> str:
    """The URL with user and password in it, as of now: where it says so, else in front of the host. Raises OSError."""
    if not login:
        return url
    user, password = (quote(part.text_as_of_now(), safe="") for part in login)
    if PASSWORD_GOES in url:
        return url.replace("{username}", user).replace(PASSWORD_GOES, password)
    scheme, separator, rest = url.partition("://")
    return f"{scheme}{separator}{user}:{password}@{rest}"
