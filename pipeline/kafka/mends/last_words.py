"""What a broker says before it hangs up.

kafka-python 3.0.12 throws away what comes together with the end of a connection. So of a password that is refused
there was hardly ever more to hear than "socket disconnected" (over TLS, 112 times of 114).
"""

from collections.abc import Callable
from typing import Any

from kafka.net.transport import KafkaSSLTransport, KafkaTCPTransport

from pipeline.kafka.rights import REFUSALS, said_of_login


def hear_last_words() -> None:
    """For every client of this process. There is no public way to do this."""
    for kind in (KafkaTCPTransport, KafkaSSLTransport):
        if not hasattr(kind._sock_recv, "hears_last_words"):
            kind._sock_recv = _words_first(kind._sock_recv)


def _words_first(receive: Callable[[Any], tuple[bytes, BaseException | None]]) -> Any:
    def receive_words_first(transport: Any) -> tuple[bytes, BaseException | None]:
        words, end = receive(transport)
        return (words, None) if words else (words, end)  # the end is met again at the next reading

    receive_words_first.hears_last_words = True  # type: ignore[attr-defined]
    return receive_words_first


def keep_refusals(manager: Any, said: list[str]) -> None:
    """What brokers say to our login goes into `said`, the last one last. There is no public way to do this."""
    connect = manager._connect

    async def connect_and_listen(node: Any, conn: Any, *rest: Any, **options: Any) -> None:
        await connect(node, conn, *rest, **options)
        error = conn._init_future.exception if conn._init_future.is_done else None
        if isinstance(error, REFUSALS):
            said.append(said_of_login(error))

    manager._connect = connect_and_listen
