"""Rests while a broker holds a producer off, as it does by a quota.

kafka-python 3.0.12 sends nothing for as long as the broker asks, but looks again without a pause whether it may: a
camera worker that took 1 % of a core took 77 %, on a box that has to take images meanwhile.
"""

from typing import Any

_LOOK_AGAIN_MS = 100


def rest_while_held_off(producer: Any) -> None:
    """There is no public way to do this."""
    client = producer._sender._client
    delay = client.connection_delay

    def delay_or_rest(node_id: Any) -> float:
        """What the sender takes for milliseconds."""
        longest: float = max(delay(node_id), min(client.throttle_delay(node_id), _LOOK_AGAIN_MS))
        return longest

    client.connection_delay = delay_or_rest
