"""Who is asking: a session of a local user, or a name that a trusted proxy vouches for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address

from pipeline.errors import AndonError
from workers.console.sessions import MAX_AGE_S, Session
from workers.console.users import Role, Users


class ProxyError(AndonError):
    """Settings of the trusted proxy that would trust too much."""


@dataclass(frozen=True)
class Identity:
    name: str
    role: Role
    must_change: bool = False
    by_proxy: bool = False

    def may(self, role: Role) -> bool:
        return self.role.covers(role)


@dataclass(frozen=True)
class TrustedProxy:
    """A proxy that has checked who the person is, and says so in headers.

    Only what comes from exactly these addresses is believed: anybody else could send such headers, too.
    """

    peers: frozenset[str]
    user_header: str = "x-forwarded-user"
    role_header: str = "x-forwarded-role"

    @classmethod
    def at(cls, peers: list[str], user_header: str, role_header: str) -> TrustedProxy:
        for peer in peers:
            try:
                ip_address(peer)
            except ValueError as error:
                raise ProxyError(f"--proxy-from {peer!r}: name one address, such as 10.0.0.5") from error
        return cls(frozenset(peers), user_header.lower(), role_header.lower())

    def vouches(self, peer: str | None, headers: Mapping[str, str], users: Users) -> Identity | None:
        """The role comes from the users file where the name is in it, else from the header. No role, no entry."""
        name = _as_sent(headers.get(self.user_header, "")).strip()
        if peer not in self.peers or not name or len(name) > 128 or not name.isprintable():
            return None
        known = users.find(name)
        if known:
            return Identity(name, known.role, by_proxy=True)
        named = {word.strip().lower() for word in headers.get(self.role_header, "").split(",")}
        roles = [role for role in Role if role.value in named]
        return Identity(name, roles[-1], by_proxy=True) if roles else None


def _as_sent(header: str) -> str:
    """Proxies send UTF-8, and headers are read as Latin-1: a name with an umlaut would stand garbled in the audit log,
    or not get in at all."""
    try:
        return header.encode("latin-1").decode()
    except UnicodeError:
        return header


def of_session(session: Session, users: Users) -> Identity | None:
    """As the users file has it now: who was removed, or has another password, is out at once."""
    user = users.find(session.user) if session.user else None
    if session.user is None or user is None or user.fingerprint != session.fingerprint:
        return None
    if session.age_s > MAX_AGE_S and user.role is not Role.VIEWER:
        return None
    return Identity(session.user, user.role, user.must_change)
