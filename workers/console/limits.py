"""How often a login may fail. In memory, and bounded."""

import time
from collections import OrderedDict, deque
from collections.abc import Callable
from threading import Lock

WINDOW_S = 300.0
PER_NAME_AND_PEER = 5
PER_PEER = 20
PER_NAME = 50
"""Of addresses from which that name never logged in: nobody shall lock another one out from elsewhere."""
_REMEMBERED = 10_000


class LoginLimits:
    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failed: OrderedDict[tuple[str, ...], deque[float]] = OrderedDict()
        self._at_home: OrderedDict[tuple[str, str], None] = OrderedDict()
        """Name and address that logged in, the latest last."""
        self._lock = Lock()

    def wait_s(self, name: str, peer: str) -> float:
        """0 where a try is allowed; else how long until the next."""
        with self._lock:
            return max(self._wait(key, limit) for key, limit in self._keys(name, peer))

    def tried(self, name: str, peer: str) -> None:
        """Before the password is looked at, so that tries side by side count, too."""
        with self._lock:
            for key, limit in self._keys(name, peer):
                times = self._failed.setdefault(key, deque(maxlen=limit))
                times.append(self._clock())
                self._failed.move_to_end(key)
            while len(self._failed) > _REMEMBERED:
                self._failed.popitem(last=False)

    def succeeded(self, name: str, peer: str) -> None:
        """The last try was none that failed."""
        with self._lock:
            for key, _ in self._keys(name, peer):
                if times := self._failed.get(key):
                    times.pop()
            name = name[:64]
            self._failed.pop(("both", name, peer), None)
            self._at_home[name, peer] = None
            self._at_home.move_to_end((name, peer))
            while len(self._at_home) > _REMEMBERED:
                self._at_home.popitem(last=False)

    def _wait(self, key: tuple[str, ...], limit: int) -> float:
        times = self._failed.get(key)
        if times is None or len(times) < limit:
            return 0.0
        return max(0.0, times[0] + WINDOW_S - self._clock())

    def _keys(self, name: str, peer: str) -> list[tuple[tuple[str, ...], int]]:
        name = name[:64]
        own = [(("both", name, peer), PER_NAME_AND_PEER), (("peer", peer), PER_PEER)]
        return own if (name, peer) in self._at_home else [*own, (("name", name), PER_NAME)]
