"""Reads one GenICam camera, in a process of its own: `python -m workers.camera.sources.genicam.reader SOURCE_AS_JSON`.

Why of its own: docs/decisions/0027. Messages (`wire.py`) go to what was standard output; SIGTERM ends it in good order.
"""

import os
import signal
import sys
import threading
import time
from typing import IO, Any

from genicam import gentl
from harvesters.core import Callback
from harvesters.util.pfnc import dict_by_ints

from pipeline.events import now
from workers.camera.config import GenicamSource
from workers.camera.sources.genicam.counter import FrameCounter
from workers.camera.sources.genicam.device import GENICAM_ERRORS, Device, Fault, words
from workers.camera.sources.genicam.outbox import Outbox, Shot
from workers.camera.sources.genicam.pixels import Raw, is_known
from workers.camera.sources.genicam.wire import Kind, Message
from workers.camera.sources.pace import Pace

_BEAT_S = 1.0
_POLL_S = 0.002
_AT_ONCE_S = 1e-6
_NO_SUCH_REGISTER = (
    gentl.AccessDeniedException,
    gentl.InvalidAddressException,
    gentl.InvalidParameterException,
    gentl.NotAvailableException,
    gentl.NotImplementedException,
)


def main() -> None:
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    wire = _own_output()
    source = GenicamSource.model_validate_json(sys.argv[1])
    outbox, device = Outbox(wire, source, ended), Device(source)
    try:
        camera = device.start()
        outbox.put(Message(Kind.READY))
        _read(camera, source, outbox, ended)
    except (Fault, *GENICAM_ERRORS) as error:
        outbox.put(Message(Kind.FAULT, words(error).encode(errors="replace")))
    outbox.close()  # first: a camera that makes trouble may hang in the next
    device.close()


def _own_output() -> IO[bytes]:
    """What a maker's code prints must not get among the messages."""
    wire = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return wire


class _Incomplete(Callback):  # type: ignore[misc]  # harvesters has no types
    """Counts pictures that came in part, which harvesters throws away."""

    def __init__(self) -> None:
        self.pictures = 0

    def emit(self, context: object = None) -> None:
        self.pictures += 1


def _read(camera: Any, source: GenicamSource, outbox: Outbox, ended: threading.Event) -> None:
    incomplete, counter, pace = _Incomplete(), FrameCounter(), Pace(source.fps)
    camera.add_callback(camera.Events.INCOMPLETE_BUFFER, incomplete)
    lost, said_s = 0, time.monotonic()
    while not ended.is_set():
        buffer = camera.try_fetch(timeout=_AT_ONCE_S, is_raw=True)
        taken_at = now()
        raw = None
        if buffer is not None:
            try:
                lost += max(_missed(buffer, counter), incomplete.pictures)
                incomplete.pictures = 0
                if not (source.fps and pace.skip()):
                    raw = _raw(buffer, camera)
            finally:
                buffer.parent.queue_buffer(buffer)
        if raw is not None:
            lost = 0 if outbox.offer(Shot(raw, taken_at, lost)) else lost + 1
            said_s = time.monotonic()
        elif time.monotonic() - said_s > _BEAT_S:
            _ask_whether_it_is_there(camera)
            lost = 0 if outbox.offer(Message(Kind.BEAT, lost=lost)) else lost
            said_s = time.monotonic()
        if buffer is None:
            ended.wait(_POLL_S)
    if lost:
        outbox.put(Message(Kind.BEAT, lost=lost))


def _missed(buffer: Any, counter: FrameCounter) -> int:
    try:
        return counter.missed(buffer.frame_id)
    except gentl.GenericException:  # a producer need not number them
        return 0


def _raw(buffer: Any, camera: Any) -> Raw:
    """Of what has several parts (3D cameras: intensity, range, …) the first."""
    if buffer.parts:
        part = buffer.parts[0]
        start, end = part.data_offset, part.data_offset + part.data_size
        size, format, padding = (part.width, part.height), part.data_format, part.x_padding
    else:
        start, end = 0, buffer.size_filled
        size, format, padding = (buffer.width, buffer.height), buffer.pixel_format, _padding(buffer)
    name = dict_by_ints.get(format, f"0x{format:08x}")
    if not is_known(name):
        nodes = camera.remote_device.node_map
        offered = nodes.PixelFormat.symbolics if nodes.has_node("PixelFormat") else ()
        known = " or ".join(filter(is_known, offered))
        raise Fault(f"pictures in {name} can't be read" + (f"; set features.PixelFormat to {known}" if known else ""))
    # A copy, by way of a view: the producer will write the next picture into these very bytes.
    return Raw(bytes(memoryview(buffer.raw_buffer)[start:end]), *size, name, padding)


def _padding(buffer: Any) -> int:
    try:
        return int(buffer.padding_x)
    except gentl.GenericException:  # a producer need not tell
        return 0


def _ask_whether_it_is_there(camera: Any) -> None:
    """Where no picture comes: nobody tells of a cable that was pulled. Register 0 is the version in GigE Vision, USB3
    Vision, CoaXPress and Camera Link HS; that it does not exist is an answer, too."""
    try:
        camera.remote_device.port.read(0, 4)
    except _NO_SUCH_REGISTER:
        return
    except gentl.GenericException as error:
        raise Fault(f"the camera answers no more: {words(error)}") from error


if __name__ == "__main__":
    main()
