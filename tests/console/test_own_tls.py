"""A certificate that is renewed while the page runs is the one that the next browser sees."""

import logging
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.certificates import signed, written

from workers.console.own_tls import OwnCertificate
from workers.local.ports import LOOPBACK

pytestmark = pytest.mark.unit


class Page:
    """A TLS server on the files of a folder."""

    def __init__(self, folder: Path) -> None:
        self.certificate, self.key = written(folder, "page", signed())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        self.own = OwnCertificate(context, self.certificate, self.key)
        self._context = context
        self._listener = socket.create_server((LOOPBACK, 0))
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        try:
            while True:
                self._context.wrap_socket(self._listener.accept()[0], server_side=True).close()
        except OSError:
            pass

    def shown(self) -> str:
        return ssl.get_server_certificate(self._listener.getsockname())

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    found = Page(tmp_path)
    yield found
    found.close()


def test_a_renewed_certificate_is_taken(page: Page, tmp_path: Path) -> None:
    before = page.shown()
    written(tmp_path, "page", signed())
    assert page.shown() == before
    page.own.look()
    assert page.shown() == page.certificate.read_text() != before


def test_half_of_a_pair_is_told_of_and_the_former_stays(
    page: Page, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before, key = page.shown(), page.key.read_bytes()
    written(tmp_path, "page", signed())
    new_key = page.key.read_bytes()
    page.key.write_bytes(key)
    with caplog.at_level(logging.WARNING):
        page.own.look()
        page.own.look()
    assert [record.getMessage()[:19] for record in caplog.records] == ["the new certificate"]
    assert page.shown() == before
    page.key.write_bytes(new_key)
    page.own.look()
    assert page.shown() == page.certificate.read_text()


def test_files_that_are_away_for_a_moment_change_nothing(page: Page) -> None:
    before = page.shown()
    page.key.rename(page.key.with_suffix(".away"))
    page.own.look()
    assert page.shown() == before
