"""A GenICam camera, as its reader process tells of it."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from pipeline.events import from_ms
from workers import launcher
from workers.camera.config import GenicamSource
from workers.camera.sources.base import CONTENT_TYPES, Image, Ready, SourceError, Unreadable
from workers.camera.sources.genicam.wire import Inbox, Kind, Message

READER = "workers.camera.sources.genicam.reader"
_LOOK_S = 0.5
_HANGS_S = 10.0
"""A reader tells every second that it is alive, however long no picture comes."""
_END_S = 5.0
"""To be given back in good order. A camera of GigE Vision that is not can be opened again after some seconds only."""
_KILLED_S = 1.0
_LOST = (
    "lost on the way from the camera; where that goes on, look at the network's packet size and load, at the cable, "
    "and at the load of this computer"
)


class GenicamCapture:
    def __init__(self, config: GenicamSource) -> None:
        self._config = config
        device = config.device.model_dump(exclude_none=True).values()
        self._shown = f"GenICam camera {', '.join(device)}" if device else "GenICam camera"

    def images(self, stop: threading.Event) -> Iterator[Image | Unreadable | Ready]:
        with _reader(self._config) as reader:
            yield from self._follow(reader, stop)

    def _follow(self, reader: subprocess.Popen[bytes], stop: threading.Event) -> Iterator[Image | Unreadable | Ready]:
        assert reader.stdout
        inbox = Inbox(reader.stdout.fileno())
        opened = False
        heard_s = pictured_s = time.monotonic()
        while not stop.is_set():
            message = self._next(inbox, reader)
            if message is not None:
                if message.lost:
                    yield Unreadable(f"{self._shown}: {_LOST}", message.lost)
                if message.kind is Kind.FAULT:
                    raise self._error(_text(message))
                if message.kind is Kind.SPOILT:
                    yield Unreadable(f"{self._shown}: {_text(message)}")
                elif message.kind is Kind.FRAME:
                    yield Image(message.content, CONTENT_TYPES[self._config.encode], from_ms(message.captured_at_ms))
                elif message.kind is Kind.READY:
                    opened = True
                    yield Ready()
                heard_s = time.monotonic()  # after the worker had what was yielded: its time is not the reader's
                if message.kind is not Kind.BEAT:
                    pictured_s = heard_s
            self._complain(opened, time.monotonic() - heard_s, time.monotonic() - pictured_s)

    def _next(self, inbox: Inbox, reader: subprocess.Popen[bytes]) -> Message | None:
        try:
            return inbox.next(_LOOK_S)
        except EOFError:
            raise self._error(f"its reader ended unasked ({_end_of(reader)})") from None

    def _complain(self, opened: bool, silent_s: float, pictureless_s: float) -> None:
        open_s, picture_s = self._config.open_timeout_s, self._config.read_timeout_s
        if not opened and silent_s > open_s:
            raise self._error(f"it did not open in {open_s:g} s (open_timeout_s)")
        if opened and silent_s > _HANGS_S:
            raise self._error(f"its producer has hung for {_HANGS_S:g} s")
        if opened and picture_s is not None and pictureless_s > picture_s:
            raise self._error(f"no picture for {picture_s:g} s (read_timeout_s)")

    def _error(self, what: str) -> SourceError:
        return SourceError(f"{self._shown}: {what}")


@contextmanager
def _reader(config: GenicamSource) -> Iterator[subprocess.Popen[bytes]]:
    """The process, which ends with the block, and with this thread at the latest."""
    program = [sys.executable, "-P", "-m", READER, config.model_dump_json()]
    command = [sys.executable, "-I", "-S", launcher.__file__, str(os.getpid()), *program]
    # A group of its own: Ctrl-C in a terminal is the worker's to answer.
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, process_group=0)
    try:
        yield process
    finally:
        process.terminate()
        assert process.stdout
        process.stdout.close()  # it may be waiting for us to take a picture
        try:
            process.wait(_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            with suppress(subprocess.TimeoutExpired):  # it may hang in a driver, out of any signal's reach
                process.wait(_KILLED_S)


def _text(message: Message) -> str:
    return message.content.decode(errors="replace")


def _end_of(reader: subprocess.Popen[bytes]) -> str:
    try:
        code = reader.wait(_END_S)
    except subprocess.TimeoutExpired:
        return "its pipe is closed"
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"
