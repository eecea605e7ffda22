"""What a process shows to those who watch it: `/metrics` for Prometheus, `/healthz` and `/readyz` for a supervisor."""

import socket
from collections.abc import Callable, Iterable
from contextlib import suppress
from socketserver import TCPServer, ThreadingMixIn
from threading import Lock, Thread
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, disable_created_metrics, make_wsgi_app

from pipeline.errors import AndonError

Health = Callable[[], str | None]
"""What is wrong with the process, or None. Something that a restart would mend: never that Kafka is away."""


_AT_ONCE = 16


class _Server(ThreadingMixIn, WSGIServer):
    """A thread for each connection, and never many: who sends a byte now and then could hold one for ever. The oldest
    is hung up on, so that a probe gets through whoever else is there."""

    daemon_threads = True

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._lock = Lock()
        self._held: list[socket.socket] = []
        super().__init__(*arguments, **options)

    def server_bind(self) -> None:
        TCPServer.server_bind(self)  # HTTPServer's would ask the DNS for our name, and wait for it without a limit
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]
        self.setup_environ()

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._held.append(request)
            oldest = self._held.pop(0) if len(self._held) > _AT_ONCE else None
        if oldest is not None:
            with suppress(OSError):
                oldest.shutdown(socket.SHUT_RDWR)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            if request in self._held:
                self._held.remove(request)
        super().shutdown_request(request)


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Quiet(WSGIRequestHandler):
    timeout = 10
    """Seconds that a silent client may hold a thread."""

    def log_message(self, format: str, *args: Any) -> None:
        """A line for every probe would bury the log."""


def observe(
    registry: CollectorRegistry, health: Health, host: str, port: int, *, ready: Health = lambda: None
) -> Callable[[], None]:
    """Serves `/metrics`, `/healthz` and `/readyz` until the returned function is called.

    ready: what the process, well as it is, does not do yet, or None. Who replaces others waits until it does.
    Raises AndonError where it can't listen.
    """
    # A series more for each counter and histogram, which no rule and no page asks for.
    disable_created_metrics()  # type: ignore[no-untyped-call]
    metrics: Callable[[Any, Any], Iterable[bytes]] = make_wsgi_app(registry)

    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path not in ("/healthz", "/readyz"):
            return metrics(environ, start_response)
        fault = health() or (ready() if path == "/readyz" else None)
        status = "503 Service Unavailable" if fault else "200 OK"
        start_response(status, [("Content-Type", "text/plain; charset=utf-8")])
        return [(fault or "well").encode() + b"\n"]

    try:
        kind = _Server6 if ":" in host else _Server
        server = make_server(host, port, app, server_class=kind, handler_class=_Quiet)
    except OSError as error:
        raise AndonError(
            f"can't listen on {host}, port {port}, for --metrics-port: {error.strerror}. "
            "Choose another port, or an address of this machine for ANDON_METRICS_HOST"
        ) from error
    thread = Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()

    def close() -> None:
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)

    return close
