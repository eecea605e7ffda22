"""Reads one GenICam camera, in a process of its own: `python -m workers.camera.sources.genicam.reader SOURCE_AS_JSON`.

Why of its own: docs/decisions/0027. Messages (`wire.py`) go to what was standard output; SIGTERM ends it in good order.
"""

import os
import signal
import sys
import time
import traceback
from dataclasses import dataclass
from typing import IO, Any

from genicam import gentl
from harvesters.core import Callback

from pipeline.events import now
from workers.camera.config import GenicamSource
from workers.camera.sources.genicam.buffers import raw_of
from workers.camera.sources.genicam.device import GENICAM_ERRORS, Device, Fault, words
from workers.camera.sources.genicam.losses import Losses
from workers.camera.sources.genicam.outbox import Outbox, Shot
from workers.camera.sources.genicam.wire import Kind, Message
from workers.camera.sources.pace import Pace

_BEAT_S = 1.0
_POLL_S = 0.002
_AT_ONCE_S = 5e-5
"""harvesters looks at its clock before it asks the producer, and on a slow clock would never ask."""


@dataclass
class End:
    """Plain, where an Event has a lock: a signal comes while this very thread may hold it."""

    asked: bool = False


def main() -> None:
    end = End()

    def ask(*_: object) -> None:
        end.asked = True

    signal.signal(signal.SIGTERM, ask)
    wire = _own_output()
    losses = Losses()
    source = GenicamSource.model_validate_json(sys.argv[1])
    outbox, device = Outbox(wire, source, ask), Device(source)
    try:
        camera = device.start()
        outbox.put(Message(Kind.READY))
        read(camera, source, outbox, losses, end)
    except Exception as error:
        if not isinstance(error, (Fault, *GENICAM_ERRORS)):
            traceback.print_exc()
        outbox.put(Message(Kind.FAULT, words(error).encode(errors="replace"), lost=losses.untold))
    outbox.close()  # first: a camera that makes trouble may hang in the next
    device.close()


def _own_output() -> IO[bytes]:
    """What a maker's code prints must not get among the messages."""
    wire = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return wire


class _Incomplete(Callback):  # type: ignore[misc]  # harvesters has no types
    """harvesters throws pictures away that came in part, and says so here."""

    def __init__(self, losses: Losses) -> None:
        self._losses = losses

    def emit(self, context: object = None) -> None:
        self._losses.in_part()


class Presence:
    """Nobody tells of a cable that was pulled. Register 0 is the version in GigE Vision, USB3 Vision, CoaXPress and
    Camera Link HS; a camera that does not answer there at the start is not asked again."""

    def __init__(self, camera: Any) -> None:
        self._port = camera.remote_device.port
        self._can_tell = self._fault() is None
        self._missed = False

    def look(self) -> None:
        """Raises Fault for a camera that is away."""
        if not self._can_tell:
            return
        fault = self._fault()
        if fault and self._missed:
            raise Fault(f"the camera answers no more: {words(fault)}")
        self._missed = fault is not None

    def _fault(self) -> Exception | None:
        try:
            self._port.read(0, 4)
        except gentl.GenericException as error:
            fault: Exception = error
            return fault
        return None


def read(camera: Any, source: GenicamSource, outbox: Outbox, losses: Losses, end: End) -> None:
    """Until the end is asked for. Raises Fault, or one of GENICAM_ERRORS."""
    camera.add_callback(camera.Events.INCOMPLETE_BUFFER, _Incomplete(losses))
    nodes, presence, pace = camera.remote_device.node_map, Presence(camera), Pace(source.fps)
    said_s = time.monotonic()
    while not end.asked:
        buffer = camera.try_fetch(timeout=_AT_ONCE_S, is_raw=True)
        taken_at, raw = now(), None
        if buffer is not None:
            try:
                losses.whole(_number(buffer))
                if not (source.fps and pace.skip()):
                    raw = raw_of(buffer, nodes)
            finally:
                buffer.parent.queue_buffer(buffer)
        told = losses.untold
        if raw is not None:
            if outbox.offer(Shot(raw, taken_at, told)):
                losses.told(told)
            else:
                losses.not_taken()
            said_s = time.monotonic()
        elif time.monotonic() - said_s > _BEAT_S:
            presence.look()
            if outbox.offer(Message(Kind.BEAT, lost=told)):
                losses.told(told)
            said_s = time.monotonic()
        if buffer is None:
            time.sleep(_POLL_S)  # the bindings keep Python's lock while they wait, so the wait is here


def _number(buffer: Any) -> int | None:
    try:
        return int(buffer.frame_id)
    except gentl.GenericException:
        return None


if __name__ == "__main__":
    main()
