"""Who may log in, and as what. A local file with argon2 hashes; nothing of it ever leaves the machine."""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from threading import BoundedSemaphore, Lock

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline.errors import AndonError
from pipeline.files.durable import write_whole
from workers.alerting.core.lifecycle import ANDON

NAME = r"^[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}$"
MIN_PASSWORD = 10
MAX_PASSWORD = 256
_AT_ONCE = 2
"""Each check of a password takes 64 MiB and a core for a moment."""
_WAIT_S = 5.0
_LOOK_AGAIN_S = 0.02


class UsersError(AndonError):
    """A users file or a user that can't be used. The message says what to do."""


class Role(StrEnum):
    """Each may do what those before it may."""

    VIEWER = "viewer"
    """Looks."""
    OPERATOR = "operator"
    """Acknowledges, resets, shelves, says whether a verdict was right, and has the account drawn."""
    ENGINEER = "engineer"
    """Writes new versions of a model's threshold."""

    def covers(self, other: Role) -> bool:
        order = list(Role)
        return order.index(self) >= order.index(other)


class User(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    role: Role
    password: str = Field(repr=False)
    """argon2id, with its salt and costs."""
    must_change: bool = False
    """A one-time password: good for one login, to choose another."""

    @property
    def fingerprint(self) -> str:
        """Changes with the password, so that a new one ends the sessions of the old."""
        return self.password[-12:]


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    users: Mapping[str, User] = Field(default_factory=dict)


@dataclass(frozen=True)
class OneTime:
    """What a first run prints, once."""

    name: str
    password: str


class Users:
    """Reads the file anew when it has changed, so `andon console user …` works while the page runs. Thread-safe."""

    def __init__(self, path: Path, hasher: PasswordHasher | None = None) -> None:
        """hasher: of other costs than argon2-cffi's own choice."""
        self.path = path
        self._hasher = hasher or PasswordHasher()
        self._hashing = BoundedSemaphore(_AT_ONCE)
        self._writing = Lock()
        self._read: tuple[tuple[int, int, int] | None, _File] = (None, _File())
        self._nobody = self._hasher.hash(secrets.token_urlsafe())

    @property
    def all(self) -> Mapping[str, User]:
        """Raises UsersError."""
        try:
            facts = self.path.stat()
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise self._unreadable() from error
        stamp = (facts.st_mtime_ns, facts.st_size, facts.st_ino)
        if self._read[0] != stamp:
            try:
                self._read = (stamp, _File.model_validate_json(self.path.read_bytes()))
            except (OSError, ValidationError) as error:
                raise self._unreadable() from error
        return self._read[1].users

    def _unreadable(self) -> UsersError:
        return UsersError(f"the users file {self.path} can't be read: mend it, or remove it and start anew")

    def find(self, name: str) -> User | None:
        return self.all.get(name)

    def check(self, name: str, password: str) -> User | None:
        """The user, where the password is right. Takes as long for a name that nobody has. Raises UsersError when too
        many are being checked."""
        user = self.find(name)
        with self._turn():
            try:
                self._hasher.verify(user.password if user else self._nobody, password[:MAX_PASSWORD])
            except (VerificationError, InvalidHashError):
                return None
        return user

    def add(self, name: str, role: Role, password: str, *, must_change: bool = False, replace: bool = False) -> None:
        """Raises UsersError for a name or a password that won't do."""

        if not re.fullmatch(NAME, name) or name.lower() == ANDON:
            raise UsersError(f"{name!r} is no name for a user: letters, digits, '_', '.', '@', '-', and not 'andon'")
        hashed = self._hash(password)
        with self._changing() as users:
            if name in users and not replace:
                raise UsersError(f"there is a user {name!r} already; --replace gives a new role and password")
            users[name] = User(role=role, password=hashed, must_change=must_change)

    def change_password(self, name: str, password: str) -> None:
        hashed = self._hash(password)
        with self._changing() as users:
            users[name] = User(role=_there(users, name).role, password=hashed)

    def remove(self, name: str) -> None:
        with self._changing() as users:
            _there(users, name)
            del users[name]

    def bootstrap(self) -> OneTime | None:
        """Where nobody can log in yet: an engineer with a password for one login."""
        if self.all:
            return None
        first = OneTime("engineer", secrets.token_urlsafe(12))
        self.add(first.name, Role.ENGINEER, first.password, must_change=True)
        return first

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if not self._hashing.acquire(timeout=_WAIT_S):
            raise UsersError("too many logins at once: try again in a moment")
        try:
            yield
        finally:
            self._hashing.release()

    def _hash(self, password: str) -> str:
        if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
            raise UsersError(f"a password has {MIN_PASSWORD} to {MAX_PASSWORD} characters")
        with self._turn():
            return self._hasher.hash(password)

    @contextmanager
    def _changing(self) -> Iterator[dict[str, User]]:
        """What the file holds, and is to hold then. One at a time, of all processes: what another wrote between the
        reading and the writing would be lost, and somebody who was removed would be back."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self._alone():
                users = dict(self.all)
                yield users
                # A reader sees the old file or the new one. For its owner alone.
                write_whole(self.path, _File(users=users).model_dump_json(indent=2) + "\n", mode=0o600)
        except OSError as error:
            # A mounted Secret, for instance: it is changed where it comes from.
            raise UsersError(
                f"the users file {self.path} can't be written ({error.strerror}): change users where it is kept"
            ) from error

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Raises UsersError when it takes too long: whoever holds it may be stopped, or wait for a disk itself."""
        deadline_s = time.monotonic() + _WAIT_S
        busy = UsersError(
            f"somebody else has held the users file {self.path} for {_WAIT_S:g} s, so nothing was changed: try again, "
            "and look for an `andon console user` that hangs"
        )
        if not self._writing.acquire(timeout=_WAIT_S):
            raise busy
        try:
            held = os.open(self.path.parent, os.O_RDONLY)
            try:
                while not _locked(held):
                    if time.monotonic() > deadline_s:
                        raise busy
                    time.sleep(_LOOK_AGAIN_S)
                yield
            finally:
                os.close(held)
        finally:
            self._writing.release()


def _there(users: Mapping[str, User], name: str) -> User:
    if name not in users:
        raise UsersError(f"there is no user {name!r}")
    return users[name]


def _locked(held: int) -> bool:
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass  # a file system that cannot lock a folder
    return True
