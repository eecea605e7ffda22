"""A certificate that was renewed, and whose key has yet to come, is waited for like a broker that is away.

kafka-python 3.0.12 reads both at each connection, and raises what TLS says of them as it is, which is no error of
Kafka's: alerting and replicas that connected just then ended. A handshake that fails it tells as one.
"""

from typing import Any

from kafka.errors import KafkaConnectionError


def wait_for_files(manager: Any) -> None:
    """Of TLS, at each connection of a client. There is no public way to do this."""
    build = manager._build_transport

    async def build_or_tell(*args: Any, **options: Any) -> Any:
        try:
            return await build(*args, **options)
        except OSError as error:
            told = str(error)
        raise KafkaConnectionError(told)  # not from that error, which would keep a socket open that nobody closes

    manager._build_transport = build_or_tell
