"""Logs in by the password of the moment, at each connection and each time that a broker asks for the login anew.

kafka-python 3.0.12 keeps the one that a client began with. Days after a password had been changed, the next connection,
as to a broker that was started anew, was refused, and ended all alerting workers and replicas at once.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from kafka.net.compat import KafkaNetClient

Login = Callable[[], dict[str, str]]


def by_login_of_the_moment(login: Login) -> Callable[..., KafkaNetClient]:
    """What kafka-python's clients take for `kafka_client`. login: user and password, by the names of its options."""
    return partial(_client, login)


def _client(login: Login, **config: Any) -> KafkaNetClient:
    client = KafkaNetClient(**config)
    connect = client._manager._connect  # there is no public way to do this

    async def connect_by_login(node: Any, conn: Any, *rest: Any, **options: Any) -> None:
        authenticate = conn._sasl_authenticate

        async def authenticate_by_login(*rest: Any) -> None:
            conn.config.update(login())
            await authenticate(*rest)

        conn._sasl_authenticate = authenticate_by_login
        await connect(node, conn, *rest, **options)

    client._manager._connect = connect_by_login
    return client
