"""Names brokers that answer at the address in our settings, and send us to one where nobody can be reached.

So does a broker whose `advertised.listeners` is of another network. kafka-python 3.0.12 tells of "ECONNREFUSED" or of a
time-out, and not where: people looked at KAFKA_BOOTSTRAP, which was right.
"""

import socket
import time

from kafka import KafkaAdminClient, KafkaConsumer

_WITHIN_S = 3.0
"""With all of them together: somebody waits for the answer."""


def sent_elsewhere(client: KafkaConsumer | KafkaAdminClient) -> str | None:
    """What comes after "the broker". There is no public way to ask a client."""
    cluster = client._manager.cluster
    named = {(broker.host, broker.port) for broker in cluster.bootstrap_brokers()}
    ends = time.monotonic() + _WITHIN_S
    for broker in cluster.brokers():
        left_s = ends - time.monotonic()
        if (broker.host, broker.port) in named or left_s <= 0:
            continue
        try:
            socket.create_connection((broker.host, broker.port), left_s).close()
        except OSError as error:
            return (
                f"sends us to {broker.host}:{broker.port}, where nobody can be reached from here "
                f"({error.strerror or error}): look at its advertised.listeners, and at the names and firewalls between"
            )
    return None
