"""Whether a Kafka cluster answers."""

import socket
import time
from typing import Any

from kafka.errors import KafkaError

from pipeline.kafka.connection import connection
from pipeline.kafka.opening import open_admin_client
from pipeline.settings import Settings

_RETRY_S = 0.1


def broker_answers(bootstrap: str, timeout_s: float, settings: Settings | None = None) -> bool:
    """Whether a broker of the cluster is up, registered and serves requests: asks it to describe the cluster.

    `bootstrap` is `host:port[,host:port…]`; `settings` say how to prove who we are where the cluster wants to know.
    Never raises for a cluster that is away.
    """
    deadline = time.monotonic() + timeout_s
    servers = [server.strip() for server in bootstrap.split(",") if server.strip()]
    arguments = connection(settings, "andon-probe") if settings else {}
    while (left_s := deadline - time.monotonic()) > 0:
        # A plain connection first: the client answers a refused one with back-off and pages of warnings.
        if any(_connects(server, left_s) for server in servers) and _describes_itself(servers, left_s, arguments):
            return True
        time.sleep(min(_RETRY_S, max(0.0, deadline - time.monotonic())))
    return False


def _connects(server: str, timeout_s: float) -> bool:
    host, _, port = server.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=timeout_s):
            return True
    except (OSError, ValueError):
        return False


def _describes_itself(servers: list[str], timeout_s: float, arguments: dict[str, Any]) -> bool:
    limit_ms = max(1, int(timeout_s * 1000))
    limits = {"bootstrap_servers": servers, "bootstrap_timeout_ms": limit_ms, "request_timeout_ms": limit_ms}
    try:
        client = open_admin_client(**(arguments | limits))
    except (KafkaError, OSError):
        return False
    try:
        return any(not broker.get("is_fenced") for broker in client.describe_cluster()["brokers"])
    except (KafkaError, OSError):
        return False
    finally:
        client.close()
