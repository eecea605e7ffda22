"""Starts processes that do not outlive this one.

Linux sends the parent-death signal when the *thread* that forked ends, not when the process does. So all children are
forked by one thread that lives as long as the process, whoever asks for them.
"""

import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import IO

from workers import launcher

_SPAWN_TIMEOUT_S = 30.0

_Job = tuple[Callable[[], subprocess.Popen[bytes]], Future[subprocess.Popen[bytes]]]


class _SpawnerThread:
    def __init__(self) -> None:
        self.owner_pid = os.getpid()
        self._jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        # A daemon: it must not keep the process alive, and ends only with it.
        threading.Thread(target=self._serve, name="andon-spawner", daemon=True).start()

    def submit(self, start: Callable[[], subprocess.Popen[bytes]]) -> Future[subprocess.Popen[bytes]]:
        result: Future[subprocess.Popen[bytes]] = Future()
        self._jobs.put((start, result))
        return result

    def _serve(self) -> None:
        while True:
            start, result = self._jobs.get()
            try:
                result.set_result(start())
            except BaseException as error:
                result.set_exception(error)


_lock = threading.Lock()
_spawner: _SpawnerThread | None = None


def _the_spawner() -> _SpawnerThread:
    global _spawner
    with _lock:
        if _spawner is None or _spawner.owner_pid != os.getpid():  # a forked process inherits no threads
            _spawner = _SpawnerThread()
        return _spawner


def spawn(
    argv: Sequence[str], output: IO[bytes], cwd: Path, environment: Mapping[str, str] | None
) -> subprocess.Popen[bytes]:
    """Start `argv` in a process group of its own: Ctrl-C in the terminal reaches only us, and we stop it in order.

    `environment` is added to our own.
    """
    command = list(argv)
    if sys.platform == "linux":
        # -I -S: nothing of the user's Python environment matters to the launcher, and it starts faster without.
        command = [sys.executable, "-I", "-S", launcher.__file__, str(os.getpid()), *command]

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env={**os.environ, **(environment or {})},
            process_group=0,
        )

    child = _the_spawner().submit(start)
    try:
        return child.result(timeout=_SPAWN_TIMEOUT_S)
    except BaseException:  # Ctrl-C, most likely: nobody would hold the handle of what is just being started
        child.add_done_callback(_kill)
        raise


def _kill(child: Future[subprocess.Popen[bytes]]) -> None:
    if child.exception() is None:
        child.result().kill()
