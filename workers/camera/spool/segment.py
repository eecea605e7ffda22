"""One file of the spool. Written to its end, read from its beginning, deleted as a whole."""

import errno
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.files.durable import naming
from workers.camera.parcel import Owner, Parcel
from workers.camera.spool.record import (
    PREFIX,
    Facts,
    Prefix,
    TornRecordError,
    decode_facts,
    decode_prefix,
    encode,
    image_is_whole,
)

SUFFIX = ".segment"
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL


class SpoolFullError(OSError):
    """There is no room: the spool's own limit, the disk's, or the user's quota."""


@dataclass
class Segment:
    """`end` is where the next record goes; `unread` counts whose records have not been read yet; `size_bytes` is the
    file's, which a torn record can make longer than `end`."""

    path: Path
    number: int
    end: int = 0
    size_bytes: int = 0
    read_to: int = 0
    unread: Counter[Owner] = field(default_factory=Counter)
    _file: int | None = None

    @classmethod
    def at(cls, folder: Path, number: int) -> "Segment":
        return cls(folder / f"{number:012d}{SUFFIX}", number)

    @classmethod
    def all_in(cls, folder: Path) -> "list[Segment]":
        """The oldest first. What has another name is somebody else's."""
        files = [folder / name for name in os.listdir(folder)]  # a glob would pass over one that may not be listed
        paths = [path for path in files if path.suffix == SUFFIX and path.stem.isascii() and path.stem.isdigit()]
        found = [(cls.at(folder, int(path.stem)), path) for path in paths]
        return sorted((segment for segment, path in found if segment.path == path), key=lambda one: one.number)

    @property
    def is_open(self) -> bool:
        return self._file is not None

    def append(self, parcel: Parcel) -> None:
        """Whole or not at all. Raises SpoolFullError, or OSError for a disk that fails otherwise."""
        head = encode(parcel)
        wanted = len(head) + len(parcel.image)
        try:
            with naming(self.path):
                written = os.pwritev(self._descriptor(_NEW), [head, parcel.image], self.end)
            if written != wanted:
                raise SpoolFullError(errno.ENOSPC, "the disk took only a part of the frame", str(self.path))
        except OSError as error:
            self._cut()
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise SpoolFullError(error.errno, error.strerror, str(self.path)) from error
            raise
        self.end += wanted
        self.size_bytes = self.end
        self.unread[parcel.owner] += 1

    def read(self) -> Parcel | None:
        """The next record; None for one whose image is damaged, which is passed over.

        Raises TornRecordError where no record can be made out: what follows is lost. OSError for a disk that fails: the
        same record may be asked for again.
        """
        prefix, facts = self._facts_at(self.read_to)
        image_at = self.read_to + PREFIX.size + prefix.facts_bytes
        image = self._bytes_at(image_at, prefix.image_bytes)
        self.read_to = image_at + prefix.image_bytes
        self.pass_over(facts.owner)
        return Parcel(facts.owner, facts.sequence, facts.headers, image) if image_is_whole(prefix, image) else None

    def pass_over(self, owner: Owner) -> None:
        self.unread[owner] -= 1
        if not self.unread[owner]:
            del self.unread[owner]

    def scan(self, start: int) -> Iterator[Facts]:
        """Finds the records from `start` on, after a restart. Images are checked when they are read, not now."""
        self.read_to = self.end = start
        self.size_bytes = os.fstat(self._descriptor()).st_size
        while self.end < self.size_bytes:
            try:
                prefix, facts = self._facts_at(self.end)
            except TornRecordError:
                return
            end = self.end + PREFIX.size + prefix.facts_bytes + prefix.image_bytes
            if end > self.size_bytes:
                return
            self.end = end
            self.unread[facts.owner] += 1
            yield facts

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def delete(self) -> None:
        self.close()
        self.path.unlink(missing_ok=True)

    def _facts_at(self, offset: int) -> tuple[Prefix, Facts]:
        prefix = decode_prefix(self._bytes_at(offset, PREFIX.size))
        return prefix, decode_facts(prefix, self._bytes_at(offset + PREFIX.size, prefix.facts_bytes))

    def _bytes_at(self, offset: int, count: int) -> bytes:
        """So many, or what there is to the end. A disk that fails amid them gives those before, and says so only when
        it is asked for the rest."""
        with naming(self.path):
            found = os.pread(self._descriptor(), count, offset)
            while len(found) < count and (
                more := os.pread(self._descriptor(), count - len(found), offset + len(found))
            ):
                found += more
        return found

    def _descriptor(self, how: int = os.O_RDONLY) -> int:
        """To be written only where it is: a disk that has become read-only still gives back what it holds."""
        if self._file is None:
            self._file = os.open(self.path, how | os.O_CLOEXEC, 0o640)
        return self._file

    def _cut(self) -> None:
        """A half-written record would look like damage to the next reader."""
        if self._file is not None:
            with naming(self.path):
                os.ftruncate(self._file, self.end)
