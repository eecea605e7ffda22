"""The alerting worker as a process: one consumer loop, until it is told to stop."""

import threading

from pipeline import groups
from pipeline.kafka.admin import check_topics
from pipeline.kafka.consumer import ConsumerLoop, ConsumerOptions
from pipeline.kafka.publisher import Publisher
from pipeline.settings import Settings
from workers.alerting.metrics import Metrics
from workers.alerting.policy import Policies
from workers.alerting.worker import AlertingStep

MAX_BATCH = 128
"""Also bounds the outbox of one line, which has to fit into one record together with the state."""
SESSION_TIMEOUT_S = 6
"""The least that brokers allow by default: for so long a line is unwatched after its worker died."""

DELIVERY_TIMEOUT_S = 20
"""Then the client gives a record up, and the step looks whether it got out all the same."""


def run(settings: Settings, policies: Policies, stop: threading.Event, *, metrics_port: int | None = None) -> None:
    """Returns after `stop`. Raises TopicError, KafkaUnavailableError, StateError, PublishError."""
    run_with(
        Publisher(settings, groups.ALERTING, delivery_timeout_s=DELIVERY_TIMEOUT_S),
        settings,
        policies,
        stop,
        metrics_port=metrics_port,
    )


def run_with(
    publisher: Publisher,
    settings: Settings,
    policies: Policies,
    stop: threading.Event,
    *,
    metrics_port: int | None = None,
) -> None:
    """As `run`, with a publisher of the caller's. Closes it."""
    try:
        topics = settings.topics
        own = (topics.scores, topics.operations, topics.line_state, topics.alarms, topics.line_commands)
        check_topics(settings, own)
        metrics = Metrics()
        options = ConsumerOptions(
            group=settings.group(groups.ALERTING),
            topics=(topics.scores.name, topics.operations.name),
            max_batch=MAX_BATCH,
            session_timeout_s=SESSION_TIMEOUT_S,
        )
        loop = ConsumerLoop(settings, options, AlertingStep(settings, policies, publisher, metrics), stop)
        metrics.watch(loop.state)
        if metrics_port is not None:
            metrics.serve(metrics_port)
        loop.run()
    finally:
        publisher.close()
