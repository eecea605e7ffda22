"""The look-up of a PLC's name. No time-out of a socket bounds it: a resolver that gets no answer asks for ten seconds,
and in a pod for each of the domains that it tries."""

from __future__ import annotations

import socket
from concurrent.futures import Future, wait
from contextlib import suppress
from functools import partial
from ipaddress import ip_address

from pipeline import apart
from workers.alerting.actuators.base import ActuatorError


class Name:
    """Used by one thread."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._asked: Future[list[str]] | None = None
        """A look-up that goes on. Who asks again waits for it, and begins no other beside it."""

    def addresses(self, timeout_s: float) -> list[str]:
        """Raises ActuatorError where the name is unknown, or not found by then."""
        if _is_address(self._host):
            return [self._host]
        asked = self._asked = self._asked or apart.begin(partial(_look_up, self._host), f"look-up-{self._host}")
        if not wait([asked], timeout_s).done:
            why = f"the name {self._host} was not found in {timeout_s:g} s"
            raise ActuatorError(f"{why}: does the name server (DNS) answer? An address in the policy needs none")
        self._asked = None
        try:
            return asked.result()
        except OSError as error:
            raise ActuatorError(f"the name {self._host} can't be found: {error.strerror or error}") from error

    def connected(self, port: int, timeout_s: float) -> socket.socket:
        """To the first address that takes a connection. By name it would be looked up once more, and unbounded.

        timeout_s: for the look-up, and for each address. Raises ActuatorError as `addresses`; OSError.
        """
        *others, last = self.addresses(timeout_s)
        for address in others:
            with suppress(OSError):
                return socket.create_connection((address, port), timeout_s)
        return socket.create_connection((last, port), timeout_s)


def _look_up(host: str) -> list[str]:
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(numeric(place) for *_, place in found))


def numeric(place: tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]) -> str:
    """The address of a socket, as text."""
    return socket.getnameinfo(place, socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)[0]


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
