"""The page's own certificate, which somebody renews while it runs."""

import logging
import ssl
from pathlib import Path

log = logging.getLogger(__name__)

_Stamp = tuple[tuple[int, int, int], ...]


class OwnCertificate:
    """Certificate and key of a server's context. What is connected stays; whoever connects next gets the new one."""

    def __init__(self, context: ssl.SSLContext, certificate: Path, key: Path) -> None:
        self._context = context
        self._files = (certificate, key)
        self._seen = self._stamp()

    def look(self) -> None:
        """Takes files that have changed. Two that do not belong together yet are told of, and the former one stays."""
        stamp = self._stamp()
        if stamp is None or stamp == self._seen:
            return
        self._seen = stamp
        try:
            # Tried apart: a context that took a certificate and refused its key would serve nobody.
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(*self._files, password=lambda: "")
            self._context.load_cert_chain(*self._files)
        except (OSError, ssl.SSLError) as error:
            log.warning("the new certificate %s is not taken, the former one stays: %s", self._files[0], error)
        else:
            log.warning("the page has a new certificate from %s", self._files[0])

    def _stamp(self) -> _Stamp | None:
        """None while one of them is not there."""
        try:
            facts = [file.stat() for file in self._files]
        except OSError:
            return None
        return tuple((fact.st_ino, fact.st_size, fact.st_mtime_ns) for fact in facts)
