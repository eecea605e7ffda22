"""A local Ray that may take its time: `ray.init` gives its own processes 30 s, however busy the machine is.

There is no setting for it, so the question that it asks until then is asked longer. Ray's version is pinned.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from ray._private import services

_ASK_EVERY_S = 0.2


@contextmanager
def with_patience(timeout_s: float) -> Iterator[None]:
    """Within the block, `ray.init` waits so long for its node before it gives up."""
    ask: Any = services.get_node
    deadline = time.monotonic() + timeout_s

    def patient(gcs_address: str, node_id: str) -> Any:
        while True:
            try:
                return ask(gcs_address, node_id)
            except RuntimeError:  # it has not registered yet
                if time.monotonic() > deadline:
                    raise
                time.sleep(_ASK_EVERY_S)

    with patch.object(services, "get_node", patient):
        yield
