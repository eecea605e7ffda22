"""The one folder that holds all local data: what the services write, spools, logs and runs."""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from workers.local.errors import ServiceError

DEFAULT_NAME = ".andon"
_MARKER = "this-folder-is-andons"
_MARKER_TEXT = "Made by Andon. Everything in here is local data; `andon local clean` removes the whole folder.\n"
_LOCK = "services.lock"


@dataclass(frozen=True)
class DataFolder:
    root: Path

    @classmethod
    def at(cls, home: Path | None) -> "DataFolder":
        """`home`, else ANDON_HOME, else `.andon` in the current directory."""
        return cls((home or Path(os.environ.get("ANDON_HOME") or DEFAULT_NAME)).absolute())

    @property
    def kafka(self) -> Path:
        return self.root / "kafka"

    @property
    def valkey(self) -> Path:
        return self.root / "valkey"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    @property
    def is_ours(self) -> bool:
        return (self.root / _MARKER).is_file()

    def create(self) -> None:
        """Make the folder and mark it as ours. Refuses one that holds other people's files."""
        if self.is_ours:
            return
        if self.root.exists() and (not self.root.is_dir() or any(self.root.iterdir())):
            raise ServiceError(
                f"{self.root} is in use for something else and Andon did not make it: name another folder in ANDON_HOME"
            )
        self.root.mkdir(parents=True, exist_ok=True)
        (self.root / _MARKER).write_text(_MARKER_TEXT, encoding="utf-8")

    def clean(self) -> bool:
        """Remove the folder with all that is in it; False where there was none."""
        if not self.root.exists():
            return False
        if self.root.is_symlink() or not self.is_ours:
            raise ServiceError(
                f"{self.root} was not made by Andon (it lacks the file {_MARKER}), so it is left alone. "
                "Remove it yourself if that is what you want"
            )
        with self.lock():
            # What proves that the folder is ours goes last: an interrupted clean can be done again.
            for entry in self.root.iterdir():
                if entry.is_dir() and not entry.is_symlink():
                    shutil.rmtree(entry)
                elif entry.name not in (_MARKER, _LOCK):
                    entry.unlink()
            shutil.rmtree(self.root)
        return True

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the folder for one process. The system drops the lock with its holder, however that one ends."""
        with self._lock_file() as lock:
            if not _try_lock(lock):
                raise ServiceError(
                    f"the services in {self.root} are running (process {self._published().get('pid', 'unknown')}): "
                    "stop them first, or name another folder in ANDON_HOME"
                )
            self.publish({})
            yield

    def publish(self, addresses: dict[str, str]) -> None:
        """Tell others who look at the folder where its services listen. Call with the lock held."""
        facts = json.dumps({"pid": os.getpid(), **addresses})
        (self.root / _LOCK).write_text(facts, encoding="utf-8")  # in place: the lock is the file's, not the name's

    def running_services(self) -> dict[str, str] | None:
        """What the lock's holder has published; None when nobody holds it."""
        if not (self.root / _LOCK).exists():
            return None
        with self._lock_file() as lock:
            if _try_lock(lock):
                return None
        return {name: str(value) for name, value in self._published().items()}

    def _published(self) -> dict[str, object]:
        try:
            return dict(json.loads((self.root / _LOCK).read_text(encoding="utf-8")))
        except (OSError, ValueError):  # being written just now
            return {}

    @contextmanager
    def _lock_file(self) -> Iterator[int]:
        lock = os.open(self.root / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            yield lock
        finally:
            os.close(lock)


def _try_lock(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
