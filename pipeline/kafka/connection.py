"""How every client of this package connects."""

import importlib.util
import logging
from functools import partial
from typing import Any

from kafka import KafkaAdminClient, KafkaConsumer

from pipeline.errors import AndonError
from pipeline.kafka.handshake import tls_fault
from pipeline.kafka.mends.bounds import NotLedError
from pipeline.kafka.mends.elsewhere import sent_elsewhere
from pipeline.kafka.mends.logging_in import by_login_of_the_moment
from pipeline.kafka.rights import LOGIN
from pipeline.settings import Settings

# "Task … ran for 0.117s. It is blocking the event loop -- likely a tight sync loop": said of every busy machine, and
# 42 of the 46 lines in alerting's log.
logging.getLogger("kafka.net.selector").setLevel(logging.ERROR)

REQUEST_TIMEOUT_MS = 15_000

_MODULES = ("crc32c", "lz4", "snappy", "zstandard")
"""kafka-python does without, and does not warn: without the C checksum a producer writes 1.3 MB/s instead of 41
(measured), and without a codec not one record can be read of what a camera or the broker compressed with it."""


class KafkaUnavailableError(AndonError):
    """No broker answered. The message names the address and what to check."""

    @property
    def may_pass(self) -> bool:
        """Whether waiting may mend it: a broker that is away, not a right that is missing."""
        return bool(getattr(self.__cause__, "retriable", False))


def led_astray(
    settings: Settings, error: BaseException, client: KafkaConsumer | KafkaAdminClient | None
) -> KafkaUnavailableError | None:
    """Where its broker answers, and names nobody who leads, or sends it to where nobody is."""
    if isinstance(error, NotLedError):
        return KafkaUnavailableError(f"Kafka answers at {settings.kafka_bootstrap}, but {error}")
    where = sent_elsewhere(client) if client else None
    return KafkaUnavailableError(f"the Kafka broker at {settings.kafka_bootstrap} {where}") if where else None


def no_answer(settings: Settings, error: BaseException, client: KafkaConsumer | None = None) -> KafkaUnavailableError:
    """In one voice. The library tells whoever waits for a first connection nothing but that there was none.

    client: one that has come further.
    """
    if found := led_astray(settings, error, client):
        return found
    if fault := tls_fault(settings):
        return KafkaUnavailableError(f"no Kafka broker answers at {settings.kafka_bootstrap}: {fault}")
    if refusals := getattr(error, "__notes__", ()):
        return KafkaUnavailableError(
            f"no Kafka broker at {settings.kafka_bootstrap} takes our login: {refusals[-1]}; {LOGIN}"
        )
    check = f"Is it running, is KAFKA_BOOTSTRAP right, and does it speak {settings.kafka_security_protocol} there?"
    if settings.kafka_security_protocol != "PLAINTEXT":
        check += " Does it take our password or certificate?"
    return KafkaUnavailableError(f"no Kafka broker answers at {settings.kafka_bootstrap}: {error}. {check}")


def connection(settings: Settings, client_id: str) -> dict[str, Any]:
    """Keyword arguments that kafka-python's consumer, producer and admin client share. Password and certificates may be
    changed meanwhile: each connection goes by what they are then.

    Raises RuntimeError where a part of its installation is missing, KafkaUnavailableError where a certificate is.
    """
    for module in _MODULES:
        if importlib.util.find_spec(module) is None:
            raise RuntimeError(f"the module {module!r} is missing; install 'kafka-python[crc32c,lz4,snappy,zstd]'")
    for variable, path in settings.kafka_files.items():
        try:
            if path:
                path.open("rb").close()
        except OSError as error:  # the client would tell of a broker that does not answer
            raise KafkaUnavailableError(f"{variable}: cannot read {path}: {error.strerror}") from error
    arguments: dict[str, Any] = {
        "bootstrap_servers": settings.kafka_bootstrap.split(","),
        "bootstrap_timeout_ms": 8_000,
        "client_id": client_id,
        "reconnect_backoff_max_ms": 2_000,
        "request_timeout_ms": REQUEST_TIMEOUT_MS,
        "security_protocol": settings.kafka_security_protocol,
    }
    optional = {
        "ssl_cafile": settings.kafka_ssl_cafile,
        "ssl_certfile": settings.kafka_ssl_certfile,
        "ssl_keyfile": settings.kafka_ssl_keyfile,
        "sasl_mechanism": settings.kafka_sasl_mechanism,
    }
    if settings.kafka_sasl_mechanism:
        login = partial(_login, settings)
        arguments |= login() | {"kafka_client": by_login_of_the_moment(login)}
    return arguments | {name: str(value) for name, value in optional.items() if value is not None}


def _login(settings: Settings) -> dict[str, str]:
    now = settings.as_of_now()
    user, password = now.kafka_sasl_username or "", now.kafka_sasl_password
    if now.kafka_sasl_mechanism != "PLAIN":
        # RFC 5802 wants it so, and kafka-python 3.0.12 sends it as it is: Kafka then knows no such user.
        user = user.replace("=", "=3D").replace(",", "=2C")
    return {"sasl_plain_username": user, "sasl_plain_password": password.get_secret_value() if password else ""}
