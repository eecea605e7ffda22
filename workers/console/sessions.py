"""Signed cookies: a session outlives a restart of the server, and holds nothing but a name and a random number."""

from __future__ import annotations

import hmac
import os
import secrets
import time
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from itsdangerous import BadData, URLSafeTimedSerializer

from pipeline.errors import AndonError
from pipeline.files.durable import naming
from workers.console.logouts import Ended

COOKIE = "andon_session"
MAX_AGE_S = 12 * 3600
"""A long shift. Then one logs in again."""
VIEWER_AGE_S = 90 * 24 * 3600
"""Of who may only look: nobody stands at a wall display to log it in each day."""
MIN_KEY_BYTES = 32
_SALT_DIGITS = 32


class SessionKeyError(AndonError):
    """A key of the sessions that can't be used. The message says what to do."""


@dataclass(frozen=True)
class Session:
    sid: str
    """Random; what the CSRF token is bound to."""
    user: str | None = None
    fingerprint: str = ""
    """Of the password that it was opened with."""
    age_s: float = field(default=0.0, compare=False)


def new_session(user: str | None = None, fingerprint: str = "") -> Session:
    return Session(secrets.token_urlsafe(16), user, fingerprint)


class Sessions:
    def __init__(self, secret: bytes, ended: Ended | None = None) -> None:
        self._ended = ended or Ended()
        self._secret = secret
        self._signer = URLSafeTimedSerializer(secret, salt="andon-console-session")

    def seal(self, session: Session) -> str:
        return self._signer.dumps([session.sid, session.user, session.fingerprint])

    def open(self, cookie: str | None) -> Session | None:
        """None for a cookie that is missing, forged, logged out, or too old for anybody."""
        if not cookie:
            return None
        try:
            (sid, user, fingerprint), sealed_at = self._signer.loads(cookie, VIEWER_AGE_S, return_timestamp=True)
        except (BadData, ValueError, TypeError):
            return None
        return None if sid in self._ended else Session(sid, user, fingerprint, time.time() - sealed_at.timestamp())

    def end(self, session: Session) -> None:
        """Wherever its cookie lies: clearing it in one browser says nothing of a copy."""
        self._ended.add(session.sid, VIEWER_AGE_S)

    def csrf_token(self, session: Session) -> str:
        """What every act must bring along. Another site can send the cookie, and can't know it. Each page has its own:
        one that stays could be guessed by how well it compresses beside words of that site's choice (BREACH)."""
        return self._csrf_token(session, secrets.token_hex(_SALT_DIGITS // 2))

    def is_csrf_token(self, session: Session, token: str) -> bool:
        return hmac.compare_digest(self._csrf_token(session, token[:_SALT_DIGITS]).encode(), token.encode())

    def _csrf_token(self, session: Session, salt: str) -> str:
        about = f"csrf {session.sid} {session.user} {salt}".encode()
        return salt + hmac.new(self._secret, about, sha256).hexdigest()


def read_secret(path: Path) -> bytes:
    """Makes it at the first run, readable by its owner alone. Raises SessionKeyError."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        key = path.read_bytes()
        if len(key) < MIN_KEY_BYTES:
            # Made by a first run that a kill has cut short: anybody could sign with what is left.
            raise SessionKeyError(
                f"{path} holds {len(key)} bytes of a key of {MIN_KEY_BYTES}: remove it, and start again; everybody "
                "logs in anew then"
            ) from None
        return key
    try:
        with naming(path), os.fdopen(handle, "wb") as file:
            file.write(secrets.token_bytes(MIN_KEY_BYTES))
    except OSError:  # what is left on a full disk would stop each later start
        path.unlink()
        raise
    return path.read_bytes()


def given_secret(path: Path) -> bytes:
    """A key that somebody else made, such as a Kubernetes Secret. Raises SessionKeyError."""
    try:
        key = path.read_bytes().strip()
    except OSError as error:
        raise SessionKeyError(f"--session-key {path} can't be read: {error.strerror}") from error
    if len(key) < MIN_KEY_BYTES:
        raise SessionKeyError(
            f"--session-key {path} holds {len(key)} bytes, and a key has at least {MIN_KEY_BYTES}: make one with "
            "`openssl rand -hex 32`"
        )
    return key
