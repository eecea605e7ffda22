"""A signed POST, for whatever has no field bus: a gateway, a manufacturing execution system.

`Andon-Signature: t=<Unix seconds>,v1=<hex HMAC-SHA256 of "<t>.<body>">`. The receiver checks it and refuses an old t.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import io
import secrets
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from pipeline.events import now
from pipeline.files.secret_file import SecretFile
from pipeline.unsent import FORGET_UNSENT
from workers.alerting.actuators.base import ActuatorError, GivesWay, Guard, Image, ReadBack, never, read_until
from workers.alerting.actuators.config import WebhookConfig
from workers.alerting.actuators.messages import MAX_ANSWER_BYTES, read_back, to_message
from workers.alerting.actuators.names import Name

CLOCKS_DIFFER_S = 10
"""From here on it is told with a refusal."""


def sign(body: bytes, secret: bytes, at_s: int) -> str:
    digest = hmac.new(secret, f"{at_s}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at_s},v1={digest}"


class WebhookActuator:
    """Keeps no connection: a peer that comes back is simply asked again."""

    def __init__(self, line_id: str, config: WebhookConfig, clock: Callable[[], datetime] = now) -> None:
        """`clock`: signs. Raises OSError when the secret can't be read or is empty."""
        self._line_id = line_id
        self._config = config
        self._place = urlsplit(config.url)
        self._name = Name(self._place.hostname or "")
        self._clock = clock
        self._secret = SecretFile(config.secret_file)
        if not self._secret.as_of_now():
            raise OSError(f"{config.secret_file} is empty")
        # Once: it reads the authorities of the whole system, which takes longer than an exchange.
        self._trust = ssl.create_default_context() if self._place.scheme == "https" else None

    @property
    def address(self) -> str:
        return self._config.address

    def read(self, gives_way: GivesWay = never) -> ReadBack:
        return self._post(None, lambda: None)

    def exchange(self, image: Image, guard: Guard, gives_way: GivesWay = never) -> ReadBack:
        return read_until(self.read, image, self._config.timeout_s, self._post(image, guard))

    def close(self) -> None:
        pass

    def _post(self, image: Image | None, guard: Guard) -> ReadBack:
        ask, secret = secrets.token_hex(8), self._secret.as_of_now()
        body = to_message(self._line_id, image, ask)
        deadline_s = time.monotonic() + self._config.timeout_s
        connection = http.client.HTTPConnection(self._place.hostname or "", self._place.port)
        try:
            connection.sock = self._connected()
            connection.response_class = partial(_Answer, deadline_s=deadline_s)  # type: ignore[assignment]
            connection.sock.settimeout(_left_s(deadline_s))
            guard()
            headers = {
                "Content-Type": "application/json",
                "Andon-Signature": sign(body, secret, int(self._clock().timestamp())),
            }
            connection.request("POST", self._path, body, headers)
            answer = connection.getresponse()
            if answer.status != http.client.OK:  # whatever its body is, or does not end
                raise ActuatorError(
                    f"answered {answer.status} {answer.reason[:100]}{_elsewhere(answer)}{self._apart(answer)}"
                )
            content = _read(answer)
        except (OSError, http.client.HTTPException) as error:
            if connection.sock:
                connection.sock.setsockopt(*FORGET_UNSENT)
            raise ActuatorError(str(error) or type(error).__name__) from error
        finally:
            connection.close()
        return read_back(content, ask, self._line_id)

    def _apart(self, answer: http.client.HTTPResponse) -> str:
        """Whose clock is wrong can't be seen from here; that they differ is what a refused signature does not say."""
        with suppress(TypeError, ValueError, OverflowError):
            ahead_s = (parsedate_to_datetime(answer.headers["Date"]) - self._clock()).total_seconds()
            if abs(ahead_s) > CLOCKS_DIFFER_S:
                return f"; its clock is {abs(ahead_s):.0f} s {'ahead of' if ahead_s > 0 else 'behind'} ours"
        return ""

    @property
    def _path(self) -> str:
        return (self._place.path or "/") + (f"?{self._place.query}" if self._place.query else "")

    def _connected(self) -> socket.socket:
        sock = self._name.connected(self._place.port or (443 if self._trust else 80), self._config.timeout_s)
        return self._trust.wrap_socket(sock, server_hostname=self._place.hostname) if self._trust else sock


class _Answer(http.client.HTTPResponse):
    """One deadline for status, headers and body."""

    def __init__(self, sock: socket.socket, *arguments: Any, deadline_s: float, **options: Any) -> None:
        super().__init__(sock, *arguments, **options)
        self.fp = io.BufferedReader(_UntilDeadline(self.fp.detach(), sock, deadline_s))


class _UntilDeadline(io.RawIOBase):
    """A socket's own time-out counts from byte to byte; a peer that drips must not hold a line up."""

    def __init__(self, stream: io.RawIOBase, sock: socket.socket, deadline_s: float) -> None:
        self._stream = stream
        self._sock = sock
        self._deadline_s = deadline_s

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        """Raises TimeoutError."""
        self._sock.settimeout(_left_s(self._deadline_s))
        return self._stream.readinto(buffer)

    def close(self) -> None:
        self._stream.close()
        super().close()


def _left_s(deadline_s: float) -> float:
    left_s = deadline_s - time.monotonic()
    if left_s <= 0:
        raise TimeoutError("the exchange took too long")
    return left_s


def _elsewhere(answer: http.client.HTTPResponse) -> str:
    """A gateway that moved, or a proxy that wants TLS or a login. Not followed: the plant says who moves its line."""
    place = answer.headers.get("Location", "").partition("?")[0]  # what follows may be a secret
    return f" and leads to {place[:200]}, where no stop is sent unless `url` in the policy says so" if place else ""


def _read(answer: http.client.HTTPResponse) -> bytes:
    content = answer.read(MAX_ANSWER_BYTES + 1)
    if len(content) > MAX_ANSWER_BYTES:
        raise ActuatorError(f"answered more than {MAX_ANSWER_BYTES} bytes")
    return content
