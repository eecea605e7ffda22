"""What Kafka refuses us, in words: a right, or our login. Its own answer is a number and a name."""

from kafka.errors import (
    AuthorizationError,
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    SaslAuthenticationFailedError,
    TopicAuthorizationFailedError,
    UnsupportedSaslMechanismError,
)

from pipeline.settings import Settings

WHOSE = (
    "give it to the user in KAFKA_SASL_USERNAME, or to that of the certificate in KAFKA_SSL_CERTFILE "
    "(deploy/charts/factory-kafka/files/rights.yaml lists what each component needs)"
)

LOGIN = (
    "look at KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD and KAFKA_SASL_MECHANISM, and at the user that the broker knows"
)
REFUSALS = (AuthorizationError, SaslAuthenticationFailedError, UnsupportedSaslMechanismError)


def refusal(error: BaseException, right: str) -> str:
    """right: that was wanted, by Kafka's name. Whatever is no refusal tells for itself."""
    match error:
        case TopicAuthorizationFailedError():
            on = "topic"
        case GroupAuthorizationFailedError():
            on = "group"
        case ClusterAuthorizationFailedError() if right == "Write":
            return f"Kafka refuses us the right Write on this topic, or IdempotentWrite on the cluster: {WHOSE}"
        case SaslAuthenticationFailedError() | UnsupportedSaslMechanismError():
            return f"Kafka does not take our login: {said_of_login(error)}; {LOGIN}"
        case _:
            return str(error)
    return f"Kafka refuses us the right {right} on {on} {_named(error)}: {WHOSE}"


def said_of_login(error: BaseException) -> str:
    """The broker's own words, where it had some."""
    return str(error.args[0]).split(": ", 1)[-1].rstrip(".") if error.args else str(error)


def missing(settings: Settings, *topics: str) -> str:
    named = ", ".join(map(repr, topics))
    return f"topic {named} does not exist; create it with `andon topics create`{or_hidden(settings)}"


def or_hidden(settings: Settings) -> str:
    """To be said of a topic that is not there: Kafka tells of none to those who may not see it."""
    if settings.kafka_security_protocol == "PLAINTEXT":
        return ""
    return f". If it exists, the right Describe is missing: {WHOSE}"


def _named(error: BaseException) -> str:
    """The library gives one name, or a set of them."""
    found = error.args[0] if error.args else "unknown"
    return ", ".join(repr(name) for name in ([found] if isinstance(found, str) else sorted(found)))
