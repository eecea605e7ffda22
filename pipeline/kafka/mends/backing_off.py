"""Leaves time between tries to connect to what takes connections and hangs up at once.

So does whatever stands before a broker that is away: a load balancer, a published port of Docker, a sidecar.
kafka-python 3.0.12 takes such a connection for made and forgets how often it failed: alerting connected 400 times a
second, and logged 200 kB of that.
"""

from typing import Any


def back_off(manager: Any) -> None:
    """Of a client's connections. There is no public way to do this."""
    connect = manager._connect

    async def connect_and_remember(node: Any, conn: Any, reset_backoff_on_connect: bool = True, **options: Any) -> None:
        before = manager._backoff.get(node.node_id)
        await connect(node, conn, reset_backoff_on_connect=False, **options)
        if not reset_backoff_on_connect:
            return  # the first connection of all, which counts its own tries
        if conn.connected:
            manager.reset_backoff(node.node_id)
        elif manager._backoff.get(node.node_id) == before:
            manager.update_backoff(node.node_id)

    manager._connect = connect_and_remember
