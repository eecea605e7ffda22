"""Lets producers rest while nobody leads a partition that a record waits for.

Its brokers are away, or its topic was made anew with fewer. kafka-python 3.0.12 then asks who leads it, which wakes the
very thread that asks, and so asks on without a pause: 11,000 times a second, for as long as that lasts.
"""

import time
from typing import Any

_LOOK_AGAIN_S = 0.1
"""As often as the client asks brokers anyway."""


def rest_while_leaderless(producer: Any) -> None:
    """There is no public way to do this."""
    accumulator = producer._accumulator
    ready, asked_s = accumulator.ready, float("-inf")

    def ready_or_rest(cluster: Any, now: float | None = None) -> tuple[set[Any], float, bool]:
        nonlocal asked_s
        nodes, next_s, leaderless = ready(cluster, now=now)
        if leaderless:
            next_s = min(next_s, _LOOK_AGAIN_S)
            now_s = time.monotonic()
            leaderless = now_s - asked_s >= _LOOK_AGAIN_S
            asked_s = now_s if leaderless else asked_s
        return nodes, next_s, leaderless

    accumulator.ready = ready_or_rest
