"""Which right Kafka misses in us, in words. Its own answer is a number and a name."""

from kafka.errors import (
    AuthorizationError,
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    TopicAuthorizationFailedError,
)

from pipeline.settings import Settings

WHOSE = (
    "give it to the user in KAFKA_SASL_USERNAME, or to that of the certificate in KAFKA_SSL_CERTFILE "
    "(deploy/charts/factory-kafka/files/rights.yaml lists what each component needs)"
)


def refusal(error: BaseException, right: str) -> str:
    """right: that was wanted, by Kafka's name. Whatever is no refusal tells for itself."""
    match error:
        case TopicAuthorizationFailedError():
            on = "topic"
        case GroupAuthorizationFailedError():
            on = "group"
        case ClusterAuthorizationFailedError() if right == "Write":
            return f"Kafka refuses us the right Write on this topic, or IdempotentWrite on the cluster: {WHOSE}"
        case _:
            return str(error)
    return f"Kafka refuses us the right {right} on {on} {_named(error)}: {WHOSE}"


def is_refusal(error: BaseException) -> bool:
    return isinstance(error, AuthorizationError)


def or_hidden(settings: Settings) -> str:
    """To be said of a topic that is not there: Kafka tells of none to those who may not see it."""
    if settings.kafka_security_protocol == "PLAINTEXT":
        return ""
    return f". If it exists, the right Describe is missing: {WHOSE}"


def _named(error: BaseException) -> str:
    """The library gives one name, or a set of them."""
    found = error.args[0] if error.args else "unknown"
    return ", ".join(repr(name) for name in ([found] if isinstance(found, str) else sorted(found)))
