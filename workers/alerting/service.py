"""The alerting worker as a process: one consumer loop, until it is told to stop."""

import logging
import threading
from contextlib import ExitStack

from pipeline import groups
from pipeline.kafka.admin import check_topics
from pipeline.kafka.consumer import ConsumerLoop
from pipeline.kafka.lease import Lease
from pipeline.kafka.publisher import Publisher
from pipeline.kafka.step import ConsumerOptions
from pipeline.kafka.waiting import await_kafka
from pipeline.settings import Settings
from pipeline.tracing import open_tracer
from workers.alerting.metrics import Metrics
from workers.alerting.plcs.plant import Plant
from workers.alerting.policy import Policies
from workers.alerting.present import Present
from workers.alerting.pulses import PulseReader
from workers.alerting.recovery import Elsewhere, find_elsewhere
from workers.alerting.worker import AlertingStep

log = logging.getLogger(__name__)

MAX_BATCH = 128
"""Also bounds the outbox of one line, which has to fit into one record together with the state."""
SESSION_TIMEOUT_S = 6
"""The least that brokers allow by default: for so long a line is unwatched after its worker died."""

PULSES_WITHIN_S = 5
"""For so long a start waits for the heartbeats of the past: who takes a line over without them has to hold it where a
camera's silence is all right."""
DELIVERY_TIMEOUT_S = 20
"""Then the client gives a record up, and the step looks whether it got out all the same."""


def run(
    settings: Settings,
    policies: Policies,
    stop: threading.Event,
    *,
    publisher: Publisher | None = None,
    metrics_port: int | None = None,
) -> None:
    """Returns after `stop`. publisher: one of the caller's; it is closed. Raises TopicError, KafkaUnavailableError,
    PublishError."""
    publisher = publisher or Publisher(settings, groups.ALERTING, delivery_timeout_s=DELIVERY_TIMEOUT_S)
    with ExitStack() as ends:
        ends.callback(publisher.close)
        metrics = Metrics()
        metrics.watch_certificates(policies)
        metrics.tell_policies(policies)
        log.info("policies %s", policies.digest)
        lease = Lease(SESSION_TIMEOUT_S)
        present = Present()
        plant = Plant(policies, lease, clock=present, exchanged=metrics.exchanged)
        topics = settings.topics
        options = ConsumerOptions(
            group=settings.group(groups.ALERTING),
            topics=(topics.scores.name, topics.operations.name),
            max_batch=MAX_BATCH,
            session_timeout_s=SESSION_TIMEOUT_S,
            ticks=True,
            lease=lease,
        )
        if tracer := open_tracer("andon-alerting"):
            ends.callback(tracer.close)
        elsewhere = Elsewhere()
        step = AlertingStep(
            settings,
            policies,
            publisher,
            metrics,
            present,
            lease=lease,
            plant=plant,
            pulses=lambda: pulses.newest,
            tracer=tracer,
            stop=stop,
            elsewhere=lambda: elsewhere,
        )
        loop = ConsumerLoop(settings, options, step, stop)
        metrics.watch(loop.state)
        if metrics_port is not None:  # before Kafka answers: who waits for it is well
            metrics.serve(loop.state, settings.andon_metrics_host, metrics_port)
        own = [topic for topic in topics if topic not in (topics.frames, topics.frames_dead)]

        def look() -> None:
            nonlocal elsewhere
            check_topics(settings, own)
            elsewhere = find_elsewhere(settings)

        if not await_kafka(look, stop, loop.state.turned):
            return
        pulses = PulseReader(settings, present.heard, present)
        ends.callback(pulses.close)
        ends.callback(plant.close)
        pulses.wait_for_the_past(PULSES_WITHIN_S)
        loop.run()
