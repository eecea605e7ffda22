"""Until when the certificates of an OPC UA line hold, and whether they can be used at all. asyncua looks at no dates,
and a server may look at ours.

A pinned server is believed all the same: whoever pinned it compared it by hand, and a line that can't be stopped since
a date has passed would be the worse fault. So it is told, from `TELL_BEFORE` on.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from workers.alerting.actuators.config import OpcUaConfig

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

TELL_BEFORE = timedelta(days=30)
_PLACES = {"own": 2, "server": 4}
_KEY = 3
"""In asyncua's `security`: policy, mode, own certificate, own key, the server's certificate."""
_CALLED = {"own": "our own certificate", "server": "the pinned server certificate"}


@dataclass(frozen=True)
class Validity:
    whose: str
    """`own` or `server`."""
    file: Path
    begins: datetime
    ends: datetime
    uri: str | None
    """The application that it names."""

    def remark(self, at: datetime) -> str | None:
        """What a person should know of it; None while it holds for long."""
        named = f"{_CALLED[self.whose]} {self.file}"
        if at < self.begins:
            return f"{named} is valid from {self.begins:%Y-%m-%d} UTC only; is a clock wrong?"
        if at > self.ends:
            return f"{named} has expired on {self.ends:%Y-%m-%d} UTC{self._what_then}"
        if self.ends - at < TELL_BEFORE:
            return f"{named} expires on {self.ends:%Y-%m-%d} UTC, in {(self.ends - at).days} days{self._what_then}"
        return None

    @property
    def _what_then(self) -> str:
        if self.whose == "own":
            return (
                ": the PLC may refuse it then, and no stop would reach it. Make a new one, and let the PLC trust that"
            )
        return ": it is believed all the same. Once the PLC has a new one, pin that (andon alerting pin)"


def validities(config: OpcUaConfig) -> list[Validity]:
    """Of the certificates that it names. One that can't be read is left out."""
    return [found for found in _looked_at(config) if isinstance(found, Validity)]


def _looked_at(config: OpcUaConfig) -> Iterator[Validity | str]:
    """Each certificate, or why it can't be read."""
    parts = _parts(config)
    for whose, place in _PLACES.items():
        if place < len(parts):
            file = Path(parts[place])
            try:
                read = _read(file)
            except (OSError, ValueError) as error:
                yield f"{_CALLED[whose]} {file} can't be read: {_why(error)}"
            else:
                yield Validity(whose, file, read.not_valid_before_utc, read.not_valid_after_utc, _uri(read))


def application_uri(config: OpcUaConfig) -> str | None:
    """As which we have to introduce ourselves: a server refuses who calls itself otherwise than its certificate does,
    and asyncua has one name for all."""
    return next((one.uri for one in validities(config) if one.whose == "own"), None)


def remarks(config: OpcUaConfig, at: datetime) -> list[str]:
    told = [found if isinstance(found, str) else found.remark(at) for found in _looked_at(config)]
    own, others = told[:1], told[1:]
    return [remark for remark in (*own, _of_the_key(config), *others) if remark]


def _of_the_key(config: OpcUaConfig) -> str | None:
    """A server can't answer who signs with another key than its certificate's, and people would ask what it trusts."""
    if not (parts := _parts(config)):
        return None
    from cryptography.hazmat.primitives import serialization

    own, file = Path(parts[_PLACES["own"]]), Path(parts[_KEY])
    load = serialization.load_pem_private_key if _is_pem(file) else serialization.load_der_private_key
    try:
        key = load(file.read_bytes(), None)
    except TypeError:
        return f"our own key {file} is encrypted, and nobody is there to give its password: store it without one"
    except (OSError, ValueError) as error:
        return f"our own key {file} can't be read: {_why(error)}"
    with suppress(OSError, ValueError):
        if _read(own).public_key() != key.public_key():
            return f"our own key {file} is not the key of {own}"
    return None


def _parts(config: OpcUaConfig) -> list[str]:
    return config.security.split(",") if config.security else []


def _why(error: Exception) -> str:
    return (isinstance(error, OSError) and error.strerror) or str(error)


def _uri(certificate: Certificate) -> str | None:
    from cryptography import x509

    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound):
        return None
    return next(iter(names.get_values_for_type(x509.UniformResourceIdentifier)), None)


def _read(file: Path) -> Certificate:
    """By its ending, as asyncua does. Raises OSError, ValueError."""
    from cryptography import x509

    content = file.read_bytes()
    return x509.load_pem_x509_certificate(content) if _is_pem(file) else x509.load_der_x509_certificate(content)


def _is_pem(file: Path) -> bool:
    return file.suffix.lower() == ".pem"
