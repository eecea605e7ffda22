"""A local Ray without the processes that nothing here asks: they cost two seconds of two cores at every start.

`ray start` can leave them out (`--no-monitor`); `ray.init` cannot, so its node is told here. Ray's version is pinned.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from ray._private.node import Node


@contextmanager
def without_helpers() -> Iterator[None]:
    """Within the block, `ray.init` starts neither the autoscaler's monitor, as one machine has nothing to scale, nor
    the head of the dashboard, which Ray would start and wait for even where the dashboard is switched off."""

    def nothing(*_: Any, **__: Any) -> None:
        return

    with patch.object(Node, "start_monitor", nothing), patch.object(Node, "start_api_server", nothing):
        yield
