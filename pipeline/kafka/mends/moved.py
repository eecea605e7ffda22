"""Finds brokers that have moved: another machine, another advertised address.

kafka-python 3.0.12 asks the settings' addresses for the brokers once, and then only those brokers for where they are.
When all of them had got another address, a client that stood asked the old ones for ever: replicas scored nothing and
alerting stopped nothing until somebody started them again, while new clients found everything well.
"""

import random
import time
from typing import Any

LOST_AFTER_S = 5.0
"""After so long without an answer, those whom the settings name are asked."""


def ask_those_named(manager: Any) -> None:
    """Of a client's connections. There is no public way to do this."""
    cluster = manager.cluster
    ask = cluster._do_refresh_metadata
    lost_since_s: float | None = None

    async def ask_whoever_may_know(node_id: Any) -> None:
        nonlocal lost_since_s
        is_lost = lost_since_s is not None and time.monotonic() - lost_since_s > LOST_AFTER_S
        if node_id is None and is_lost:
            named = [broker.node_id for broker in cluster.bootstrap_brokers()]
            # Each in its time, or it would be asked ten times a second, with a line of the log for each.
            ready = [name for name in named if not manager.connection_delay(name)]
            node_id = random.choice(ready) if ready else None
        try:
            await ask(node_id)
        except Exception:
            lost_since_s = lost_since_s or time.monotonic()
            raise
        lost_since_s = None

    cluster._do_refresh_metadata = ask_whoever_may_know
