"""A password or secret that may be changed while a process runs. Imports nothing heavy: cameras log in, too."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path


class SecretFile:
    def __init__(self, path: Path, known: bytes | None = None) -> None:
        """known: what was read before; else it is read now. Raises OSError when it can't be read."""
        self._path = path
        self._known = self._read() if known is None else known

    def as_of_now(self) -> bytes:
        """For the next connection. Where there is nothing to read, what was read last: a file that is just being
        replaced must hold up nothing."""
        with suppress(OSError):
            self._known = self._read() or self._known
        return self._known

    def text_as_of_now(self) -> str:
        """The same, of UTF-8. Raises OSError where it never was any."""
        known = self._known
        try:
            return self.as_of_now().decode()
        except UnicodeDecodeError:
            self._known = known
        try:
            return known.decode()
        except UnicodeDecodeError as error:
            raise OSError(f"what lies in {self._path} is no text") from error

    def _read(self) -> bytes:
        return self._path.read_bytes().strip()
