"""A local Ray that does not wait for its agents: they are told their ports, in place of telling those they found.

The raylet looks for the files in which they do, and ends itself where one is not there after 15 s, which no setting
changes. On a busy machine the agents take longer to be loaded, and no frame needs them. Ray's version is pinned.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from ray._private.node import Node
from ray._raylet import persist_port  # type: ignore[attr-defined]

from workers.local.ports import free_ports

_NAMES = ("dashboard_agent_listen_port", "metrics_agent_port", "metrics_export_port", "runtime_env_agent_port")
"""Of the files, and of the node's own settings."""


@contextmanager
def with_ports_beforehand() -> Iterator[None]:
    """Within the block, `ray.init` writes these files itself, with the ports that it was given or that are free."""
    start_raylet: Any = Node.start_raylet

    def start(node: Any, *arguments: Any, **named: Any) -> None:
        settings = node._ray_params
        for name, free in zip(_NAMES, free_ports(len(_NAMES)), strict=True):
            port = getattr(settings, name) or free
            setattr(settings, name, port)
            persist_port(node._session_dir, node._node_id, name, port)
        start_raylet(node, *arguments, **named)

    with patch.object(Node, "start_raylet", start):
        yield
