import asyncio
from collections.abc import Iterator
from copy import copy
from pathlib import Path
from typing import Any

import pytest

from workers.local.ports import free_ports


@pytest.fixture
def unused_port() -> int:
    return free_ports(1)[0]


@pytest.fixture(scope="session")
def quick_opcua() -> Iterator[None]:
    """Servers of this process read the standard's 6,000 nodes once, in seconds; each gets copies of its own."""
    from asyncua.server.address_space import NodeData
    from asyncua.server.internal_server import InternalServer
    from asyncua.server.standard_address_space import standard_address_space

    read: list[NodeData] = []

    def own(node: NodeData) -> NodeData:
        mine = NodeData(node.nodeid)
        mine.attributes = {key: copy(value) for key, value in node.attributes.items()}
        for value in mine.attributes.values():
            value.datachange_callbacks = {}
        mine.references = list(node.references)
        return mine

    async def load(server: Any, shelf_file: Path | None = None) -> None:
        if not read:
            await asyncio.to_thread(standard_address_space.fill_address_space, server.node_mgt_service)
            read.extend(own(server.aspace[key]) for key in server.aspace.keys())  # noqa: SIM118, it is no dict
        for node in read:
            server.aspace[node.nodeid] = own(node)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(InternalServer, "load_standard_address_space", load)
        yield
