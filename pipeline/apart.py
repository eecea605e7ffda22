"""Work on a daemon thread: what hangs for ever takes no place in a pool, and keeps no process from ending."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def begin(work: Callable[[], T], name: str) -> "Future[T]":
    """Raises RuntimeError where no thread is to be had. Whatever `work` raises, the future raises."""
    future: Future[T] = Future()
    future.set_running_or_notify_cancel()  # who waits may give up, and the result still has its place

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, name=name, daemon=True).start()
    return future
