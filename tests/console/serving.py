"""A real server for an app, for as long as a test takes."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from support.waiting import wait_until


@contextmanager
def served(config: uvicorn.Config) -> Iterator[int]:
    """Its port."""
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_until(lambda: server.started)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    thread.join()
