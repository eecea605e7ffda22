"""Ends this process when the Ray that it started has lost a process that it can't do without.

Without its raylet Ray goes on: replicas score what they get, and nothing starts them again, changes them or answers for
them. Without its GCS it ends by itself, after a minute. Whoever supervises this process must see it end instead.
`ray start --block` does the same; `ray.init` does not.
"""

import ctypes
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import ray._private.worker
from ray._private.ray_constants import PROCESS_TYPE_GCS_SERVER, PROCESS_TYPE_RAYLET

_INDISPENSABLE = (PROCESS_TYPE_RAYLET, PROCESS_TYPE_GCS_SERVER)
_LOOK_EVERY_S = 1.0
_CLEAR_WITHIN_S = 5.0
_PR_SET_CHILD_SUBREAPER = 36


def end_with_ray() -> threading.Event:
    """After `ray.init`: this process ends, with code 1, once its raylet or its GCS did. So does all that came from
    them: a replica that goes on alone would keep its partitions, and the proxy its port. Until the event is set, which
    must come before an orderly end."""
    # What outlives the raylet becomes a child of this process.
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
    ending = threading.Event()
    node = ray._private.worker._global_node
    threading.Thread(target=_watch, args=(node, ending), name="ray-end", daemon=True).start()
    return ending


def _watch(node: Any, ending: threading.Event) -> None:
    while not ending.wait(_LOOK_EVERY_S):
        dead = [name for name, _ in node.dead_processes() if name in _INDISPENSABLE]
        if dead and not ending.is_set():
            print(
                f"Ray's {' and '.join(dead)} ended unexpectedly (out of memory?), so this process ends, too. Frames "
                "wait in Kafka; start it again",
                file=sys.stderr,
                flush=True,
            )
            _kill_children()
            os._exit(1)


def _kill_children() -> None:
    deadline = time.monotonic() + _CLEAR_WITHIN_S
    while time.monotonic() < deadline and (children := _children()):
        for child in children:
            with suppress(ProcessLookupError, ChildProcessError):  # Ray may have waited for it, too
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, os.WNOHANG)
        time.sleep(0.05)


def _children() -> list[int]:
    lists = Path("/proc/self/task").glob("*/children")
    return [int(child) for each in lists for child in each.read_text().split()]
