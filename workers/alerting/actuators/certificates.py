"""Until when the certificates of an OPC UA line hold. asyncua looks at no dates, and a server may look at ours.

A pinned server is believed all the same: whoever pinned it compared it by hand, and a line that can't be stopped since
a date has passed would be the worse fault. So it is told, from `TELL_BEFORE` on.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from workers.alerting.actuators.config import OpcUaConfig

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

TELL_BEFORE = timedelta(days=30)
_PLACES = {"own": 2, "server": 4}
"""In asyncua's `security`: policy, mode, own certificate, own key, the server's certificate."""


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
        named = f"{'our own' if self.whose == 'own' else 'the pinned server'} certificate {self.file}"
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
    """Of the certificates that it names. One that can't be read is left out: the connection says why."""
    parts = config.security.split(",") if config.security else []
    found = []
    for whose, place in _PLACES.items():
        if place < len(parts):
            try:
                read = _read(Path(parts[place]))
            except (OSError, ValueError):
                continue
            span = read.not_valid_before_utc, read.not_valid_after_utc
            found.append(Validity(whose, Path(parts[place]), *span, _uri(read)))
    return found


def application_uri(config: OpcUaConfig) -> str | None:
    """As which we have to introduce ourselves: a server refuses who calls itself otherwise than its certificate does,
    and asyncua has one name for all."""
    return next((one.uri for one in validities(config) if one.whose == "own"), None)


def remarks(config: OpcUaConfig, at: datetime) -> list[str]:
    told = [validity.remark(at) for validity in validities(config)]
    return [remark for remark in told if remark]


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
    pem = file.suffix.lower() == ".pem"
    return x509.load_pem_x509_certificate(content) if pem else x509.load_der_x509_certificate(content)
