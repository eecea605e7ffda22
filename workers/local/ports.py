"""Free TCP ports on the loopback address."""

import random
import socket

LOOPBACK = "127.0.0.1"

# Below the range from which systems take the ports of outgoing connections: a port from there could be taken by any
# client between our look and the server's bind, and between a server's stop and its restart on the same port.
_FIRST, _LAST = 15_000, 32_000
_TRIES = 200


def is_free(port: int) -> bool:
    """Whether a server could listen on `port` now; connections that a stopped server left behind do not count."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def free_ports(count: int) -> list[int]:
    """`count` different ports, chosen at random so that processes that choose at the same time rarely collide."""
    candidates = random.SystemRandom().sample(range(_FIRST, _LAST), _TRIES)
    found: list[int] = []
    for port in candidates:
        if is_free(port):
            found.append(port)
        if len(found) == count:
            return found
    raise OSError(f"found {len(found)} free ports of {count} wanted on {LOOPBACK} between {_FIRST} and {_LAST}")


def accepts_connections(port: int) -> bool:
    try:
        with socket.create_connection((LOOPBACK, port), timeout=0.2):
            return True
    except OSError:
        return False
