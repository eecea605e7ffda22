"""Finds one that answers among the brokers that a setting names.

kafka-python 3.0.12 takes one of them by chance and gives it all the time that there is. Where one of three hangs, with
its connections open and no answer, every third client so found no broker, and who opens several hardly ever came
through: `andon audit`, and an alerting worker that takes lines over, which ends then.
"""

from typing import Any

FIRST_WITHIN_MS = 2_000
"""The first is given up after so long; whichever is next has the rest of the time, for all may be slow."""


def one_after_another(manager: Any) -> None:
    """Of a client's connections. There is no public way to do this."""
    cluster = manager.cluster
    named, connect, bootstrap = cluster.bootstrap_brokers, manager.get_connection, manager._do_bootstrap
    if len(named()) < 2:
        return
    tried: set[str] = set()

    def untried() -> list[Any]:
        left = [broker for broker in named() if broker.node_id not in tried]
        if not left:
            tried.clear()
        return left or list(named())

    def connect_for_a_while(node_id: Any, timeout_ms: float | None = None, **options: Any) -> Any:
        if cluster.is_bootstrap(node_id):
            if not tried:
                timeout_ms = FIRST_WITHIN_MS if timeout_ms is None else min(timeout_ms, FIRST_WITHIN_MS)
            tried.add(node_id)
        return connect(node_id, timeout_ms=timeout_ms, **options)

    async def begin_anew(deadline_s: float | None) -> Any:
        tried.clear()
        return await bootstrap(deadline_s)

    cluster.bootstrap_brokers = untried
    manager.get_connection = connect_for_a_while
    manager._do_bootstrap = begin_anew
