"""Waits at start until Kafka and its topics are there."""

import logging
import threading
from collections.abc import Callable, Iterable

from pipeline.kafka.admin import MissingTopicsError, check_topics
from pipeline.kafka.connection import KafkaUnavailableError
from pipeline.settings import Settings
from pipeline.telling import Every
from pipeline.topics import Topic

log = logging.getLogger(__name__)

_ASK_AGAIN_S = 2.0
_TELL_AGAIN_S = 30.0


def await_topics(settings: Settings, wanted: Iterable[Topic], stop: threading.Event) -> bool:
    """As `check_topics`, but waits as `await_kafka` does. Raises TopicError, and KafkaUnavailableError for what no
    waiting mends."""
    wanted = list(wanted)
    return await_kafka(lambda: check_topics(settings, wanted), stop)


def await_kafka(look: Callable[[], None], stop: threading.Event, turned: Callable[[], None] = lambda: None) -> bool:
    """Looks again, until `stop` is set, while a broker does not answer or topics are not there yet: after a power
    cut Kafka comes last, and at a first start its topics. Kubernetes makes who gives up wait five minutes more, and
    Ray Serve tries three times and then never again.

    turned: called at each look. Returns False where `stop` came before a look went well. Raises what `look` raises
    otherwise, and KafkaUnavailableError for what no waiting mends.
    """
    telling = Every(_TELL_AGAIN_S)
    while True:
        turned()
        try:
            look()
            return True
        except (KafkaUnavailableError, MissingTopicsError) as error:
            if isinstance(error, KafkaUnavailableError) and not error.may_pass:
                raise
            if telling.due():
                log.warning("waiting for Kafka: %s", error)
        if stop.wait(_ASK_AGAIN_S):
            return False
