"""Which sessions were logged out: a cookie that somebody has put aside must not work on."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from threading import Lock

from pipeline.files.durable import write_whole

log = logging.getLogger(__name__)

MAX_ENDED = 10_000
"""Logouts within the life of a session. Each takes a login before it."""


class Ended:
    """Sessions that were logged out and have not run out yet. In a file, so that no restart brings one back; where it
    can't be written, as long as this process lives. Thread-safe."""

    def __init__(self, path: Path | None = None, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        self._lock = Lock()
        self._until = self._read()

    def __contains__(self, sid: str) -> bool:
        return sid in self._until

    def add(self, sid: str, for_s: float) -> None:
        """for_s: how long its cookie could have been used."""
        with self._lock:
            at = self._clock()
            left = {known: until for known, until in self._until.items() if until > at} | {sid: at + for_s}
            self._until = dict(list(left.items())[-MAX_ENDED:])
            self._write()

    def _read(self) -> dict[str, float]:
        try:
            found = json.loads(self._path.read_bytes()) if self._path else {}
            return {str(sid): float(until) for sid, until in found.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, AttributeError) as error:
            log.warning("%s can't be read, so a session that was logged out may work on: %s", self._path, error)
            return {}

    def _write(self) -> None:
        if self._path is None:
            return
        try:
            write_whole(self._path, json.dumps(self._until))
        except OSError as error:
            log.warning("%s can't be written, so a logout may be forgotten at a restart: %s", self._path, error)
