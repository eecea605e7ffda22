"""A password or secret of a PLC, which may be changed while the worker runs."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path


class SecretFile:
    def __init__(self, path: Path) -> None:
        """Raises OSError when it can't be read."""
        self._path = path
        self._known = self._read()

    def as_of_now(self) -> bytes:
        """For the next connection. Where there is nothing to read, what was read last: a file that is just being
        replaced must hold up no stop."""
        with suppress(OSError):
            self._known = self._read() or self._known
        return self._known

    def _read(self) -> bytes:
        return self._path.read_bytes().strip()
