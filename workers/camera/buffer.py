"""Frames in memory between the sources and the uplink, bounded in bytes over all cameras together."""

import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from enum import StrEnum
from itertools import count

from workers.camera.parcel import Parcel

_WAIT_S = 0.5


class WhenFull(StrEnum):
    DROP_OLDEST = "drop-oldest"
    """For cameras that do not wait: the newest frame is worth most to a line that can still be stopped."""
    BLOCK = "block"
    """For replays that may wait: the source stands still until there is room."""


class Buffer:
    """Thread-safe; first in, first out.

    When full, `drop-oldest` takes the oldest frame of whichever camera holds the most bytes: one camera that sends
    too much pays for it itself, and does not push its neighbours' frames out.
    """

    def __init__(self, limit_bytes: int, when_full: WhenFull, on_arrival: Callable[[], None] = lambda: None) -> None:
        self._limit_bytes = limit_bytes
        self._when_full = when_full
        self._on_arrival = on_arrival
        self._room = threading.Condition()
        self._arrivals = count()
        self._returns = count(-1, -1)
        self._waiting: OrderedDict[int, Parcel] = OrderedDict()
        self._of_camera: dict[str, deque[int]] = {}
        self._bytes_of_camera: dict[str, int] = {}
        self._bytes = 0
        self._closed = False

    @property
    def size_bytes(self) -> int:
        return self._bytes

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def under_pressure(self) -> bool:
        """Frames are about to be dropped. Where sources wait instead, a full buffer is nothing to worry about."""
        return self._when_full is WhenFull.DROP_OLDEST and self._bytes * 2 > self._limit_bytes

    def put(self, parcel: Parcel) -> list[Parcel]:
        """Returns what had to be given up, which can be the parcel itself. May wait where the policy is `block`."""
        with self._room:
            given_up: list[Parcel] = []
            while not self._closed and self._bytes + parcel.size_bytes > self._limit_bytes:
                if self._when_full is WhenFull.BLOCK and self._waiting:
                    self._room.wait(_WAIT_S)
                elif self._waiting:
                    given_up.append(self._remove_oldest_of_fullest())
                else:
                    break
            if self._closed or self._bytes + parcel.size_bytes > self._limit_bytes:
                return [*given_up, parcel]
            self._add(parcel, next(self._arrivals))
        self._on_arrival()
        return given_up

    def take(self) -> Parcel | None:
        """The oldest of all, or None when nothing waits."""
        with self._room:
            if not self._waiting:
                return None
            arrival, parcel = next(iter(self._waiting.items()))
            self._remove(arrival)
            self._room.notify()  # one frame left, so one source may go on; the others look again after a while
            return parcel

    def put_back(self, parcel: Parcel) -> None:
        """What was taken last, which is again the oldest of all. Takes room that may be another's by now: the next
        `put` makes up for it."""
        with self._room:
            arrival = next(self._returns)
            self._add(parcel, arrival)
            self._waiting.move_to_end(arrival, last=False)
            self._of_camera[parcel.owner.camera_id].rotate(1)

    def take_group(self, enough_bytes: int) -> list[Parcel]:
        """The oldest ones, in order, until they hold enough: at one price for all of them."""
        group: list[Parcel] = []
        taken_bytes = 0
        with self._room:
            while self._waiting and taken_bytes < enough_bytes:
                arrival, parcel = next(iter(self._waiting.items()))
                self._remove(arrival)
                taken_bytes += parcel.size_bytes
                group.append(parcel)
            self._room.notify(len(group))
        return group

    def close(self) -> None:
        """Takes nothing more, and releases whoever waits for room. What is inside can still be taken."""
        with self._room:
            self._closed = True
            self._room.notify_all()

    def _add(self, parcel: Parcel, arrival: int) -> None:
        camera_id = parcel.owner.camera_id
        self._waiting[arrival] = parcel
        self._of_camera.setdefault(camera_id, deque()).append(arrival)
        self._bytes_of_camera[camera_id] = self._bytes_of_camera.get(camera_id, 0) + parcel.size_bytes
        self._bytes += parcel.size_bytes

    def _remove_oldest_of_fullest(self) -> Parcel:
        fullest = max(self._bytes_of_camera, key=self._bytes_of_camera.__getitem__)
        return self._remove(self._of_camera[fullest][0])

    def _remove(self, arrival: int) -> Parcel:
        """`arrival` is always the oldest of its camera."""
        parcel = self._waiting.pop(arrival)
        self._of_camera[parcel.owner.camera_id].popleft()
        self._bytes_of_camera[parcel.owner.camera_id] -= parcel.size_bytes
        self._bytes -= parcel.size_bytes
        return parcel
