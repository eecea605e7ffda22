"""Clients that a broker holds off, as it does by a quota.

Producers rest meanwhile: kafka-python 3.0.12 sends nothing for as long as the broker asks, but looks again without a
pause whether it may, and a camera worker that took 1 % of a core took 77 %, on a box that has to take images meanwhile.

Consumers tell of it. One whose quota holds no batch gets nothing, ever, and nothing of theirs shows it: the broker
does not say what waits, either.
"""

import time
from typing import Any

from kafka import KafkaConsumer

_LOOK_AGAIN_MS = 100
_BETWEEN_TWO_S = 2.0
"""Who is held off again after a shorter time has been held off all along."""


def rest_while_held_off(producer: Any) -> None:
    """There is no public way to do this."""
    client = producer._sender._client
    delay = client.connection_delay

    def delay_or_rest(node_id: Any) -> float:
        """What the sender takes for milliseconds."""
        longest: float = max(delay(node_id), min(client.throttle_delay(node_id), _LOOK_AGAIN_MS))
        return longest

    client.connection_delay = delay_or_rest


def is_held_off(consumer: KafkaConsumer) -> bool:
    """Whether a broker lets nothing through now. There is no public way to ask."""
    client = consumer._client
    return any(client.throttle_delay(node_id) for node_id in list(client._manager._conns))


class HeldOff:
    """How long a consumer has been held off without a record."""

    def __init__(self) -> None:
        self._since_s = self._last_s = float("-inf")

    def for_s(self, consumer: KafkaConsumer, came: bool) -> float:
        """After each poll; `came`: it brought something."""
        now_s = time.monotonic()
        if came or now_s - self._last_s > _BETWEEN_TWO_S:
            self._since_s = now_s
        if is_held_off(consumer):
            self._last_s = now_s
        return now_s - self._since_s
