"""What a process shows to those who watch it: `/metrics` for Prometheus and `/healthz` for a supervisor."""

from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from threading import Thread
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app

Health = Callable[[], str | None]
"""What is wrong with the process, or None. Something that a restart would mend: never that Kafka is away."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    timeout = 10
    """Seconds that a silent client may hold a thread."""

    def log_message(self, format: str, *args: Any) -> None:
        """A line for every probe would bury the log."""


def observe(registry: CollectorRegistry, health: Health, host: str, port: int) -> Callable[[], None]:
    """Serves `/metrics` and `/healthz` until the returned function is called. Raises OSError when the port is taken."""
    metrics: Callable[[Any, Any], Iterable[bytes]] = make_wsgi_app(registry)

    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        if environ["PATH_INFO"] != "/healthz":
            return metrics(environ, start_response)
        fault = health()
        status = "503 Service Unavailable" if fault else "200 OK"
        start_response(status, [("Content-Type", "text/plain; charset=utf-8")])
        return [(fault or "well").encode() + b"\n"]

    server = make_server(host, port, app, server_class=_Server, handler_class=_Quiet)
    thread = Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()

    def close() -> None:
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)

    return close
