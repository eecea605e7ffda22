"""Serves the page until told to stop."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from pipeline.errors import AndonError
from workers.commands.ending import polite_signals
from workers.console.app import create_app
from workers.console.desk import Desk
from workers.console.own_tls import OwnCertificate
from workers.console.patience import Patience

LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "[::1]", "::1"})
_MOST_CONNECTIONS = 500
_END_S = 3
"""Streams of events never end by themselves."""
_LOOK_TICKS = 50
"""At the certificate: every 5 s."""


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready
        self._own: OwnCertificate | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.config.ssl and self.config.ssl_certfile and self.config.ssl_keyfile:
            self._own = OwnCertificate(self.config.ssl, Path(self.config.ssl_certfile), Path(self.config.ssl_keyfile))
        if not self.should_exit:
            self._on_ready()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """uvicorn's own knows no SIGHUP, and once it has served it raises what it caught again: the process died of
        that before anything else was closed. What closes then may hang, and a second Ctrl-C ends it; a polite signal
        that is sent twice makes no kill of it."""
        before = signal.signal(signal.SIGINT, self.handle_exit)
        for number in polite_signals():
            signal.signal(number, self.handle_exit)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    async def on_tick(self, counter: int) -> bool:
        if self._own and counter % _LOOK_TICKS == 0:
            self._own.look()
        return await super().on_tick(counter)


def serve(
    desk: Desk,
    host: str,
    port: int,
    tls_certificate: Path | None = None,
    tls_key: Path | None = None,
    on_ready: Callable[[], None] = lambda: None,
) -> None:
    """Returns after SIGTERM, Ctrl-C or the end of its terminal. Raises AndonError when the port is taken."""
    config = uvicorn.Config(
        create_app(desk),
        host=host,
        port=port,
        log_level="warning",
        access_log=False,
        # Whoever the peer is, it is the real one: the guard alone decides whose headers count.
        proxy_headers=False,
        server_header=False,
        date_header=True,
        http=Patience,
        limit_concurrency=_MOST_CONNECTIONS,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=_END_S,
        ssl_certfile=tls_certificate,
        ssl_keyfile=tls_key,
        ws="none",
    )
    try:
        _Server(config, on_ready).run()
    except SystemExit as error:
        raise AndonError(f"can't listen on {host}:{port}: is the port taken? Choose another with --port") from error
