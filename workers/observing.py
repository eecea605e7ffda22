"""What a process shows to those who watch it: `/metrics` for Prometheus and `/healthz` for a supervisor."""

import socket
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from threading import Thread
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, disable_created_metrics, make_wsgi_app

from pipeline.errors import AndonError

Health = Callable[[], str | None]
"""What is wrong with the process, or None. Something that a restart would mend: never that Kafka is away."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Quiet(WSGIRequestHandler):
    timeout = 10
    """Seconds that a silent client may hold a thread."""

    def log_message(self, format: str, *args: Any) -> None:
        """A line for every probe would bury the log."""


def observe(registry: CollectorRegistry, health: Health, host: str, port: int) -> Callable[[], None]:
    """Serves `/metrics` and `/healthz` until the returned function is called. Raises AndonError where that can't be."""
    # A series more for each counter and histogram, which no rule and no page asks for.
    disable_created_metrics()  # type: ignore[no-untyped-call]
    metrics: Callable[[Any, Any], Iterable[bytes]] = make_wsgi_app(registry)

    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        if environ["PATH_INFO"] != "/healthz":
            return metrics(environ, start_response)
        fault = health()
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
