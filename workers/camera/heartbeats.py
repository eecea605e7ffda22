"""Every second, tells Kafka what became of every frame; and by that finds out whether Kafka is there."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime

from pipeline.events import BootEnd, Heartbeat
from pipeline.kafka.admin import MissingTopicsError, TopicError, check_topics
from pipeline.kafka.connection import KafkaUnavailableError
from pipeline.kafka.publisher import Publisher, PublishError
from pipeline.kafka.records import Outgoing
from pipeline.settings import Settings
from workers.camera.backoff import Backoff
from workers.camera.ledger import Ledger, Tally
from workers.camera.link import Link
from workers.camera.parcel import Owner

log = logging.getLogger(__name__)

PERIOD_S = 1.0
_ANSWER_TIMEOUT_S = 15.0
"""Longer than the uplink waits: on a slow line a heartbeat queues behind frames."""
_GIVE_UP_S = 7 * 86_400.0
"""The uplink and the heartbeats lose patience much sooner. A client that gives a frame up sends those behind it, before
either could keep it from that: after the whole process was frozen, as a virtual machine is while it is moved."""

Report = tuple[datetime, Mapping[Owner, Tally]]
"""Tallies and the moment at which they held."""


class Heartbeats:
    """Reports former boots too, until the last of their spooled frames has reached Kafka."""

    def __init__(
        self,
        settings: Settings,
        link: Link,
        ledger: Ledger,
        report: Callable[[], Report],
        connected: Callable[[Owner], bool],
    ) -> None:
        """report: what may be told; with a spool, only what is already safe on disk."""
        self._settings = settings
        self._topics = settings.topics
        self._link = link
        self._ledger = ledger
        self._report = report
        self._connected = connected
        self._closing = threading.Event()
        self._attempted = False
        self._acknowledged_s = time.monotonic()
        self.refusal: Exception | None = None
        """Why Kafka takes nothing, as it was last told; None while it takes heartbeats, or was not asked yet."""
        self.fault: TopicError | None = None
        """The topics were found wrong at the very first contact. Those that are not there yet are waited for."""

    def age_s(self) -> float:
        """Since Kafka took a heartbeat, or since the start."""
        return time.monotonic() - self._acknowledged_s

    def run(self) -> None:
        backoff = Backoff(0.5, 5)
        while not self._closing.is_set():
            self._link.close_retired()
            was_up, taken = self._link.publisher is not None, False
            try:
                self._beat()
                taken = True
                if was_up:
                    backoff.reset()
                pause_s = PERIOD_S
            except (KafkaUnavailableError, PublishError, TopicError) as error:
                if not isinstance(error, MissingTopicsError):
                    if isinstance(error, TopicError) and not self._attempted:
                        self.fault = error
                        return
                    self._attempted = True
                self.refusal = error
                self._link.refused()
                pause_s = backoff.next_s()
                log.warning("Kafka takes no records, next attempt in %.1f s: %s", pause_s, error)
            if not self._closing.is_set():
                self._link.wait(pause_s)
            if taken and not was_up and self._link.publisher is None:
                # It took this heartbeat and no frame, as where a right is missing: connecting costs the broker a lot.
                self._closing.wait(backoff.next_s())

    def close(self) -> None:
        self._closing.set()
        self._link.wake()

    def send_last(self, tallies: Report) -> None:
        """After `run` has returned. Raises PublishError when Kafka does not take it."""
        publisher = self._link.publisher
        if publisher is None:
            raise PublishError("Kafka is away", retriable=True)
        publisher.publish(self._records(tallies), _ANSWER_TIMEOUT_S)

    def _beat(self) -> None:
        publisher = self._link.publisher
        if publisher is None:
            check_topics(self._settings, (self._topics.frames, self._topics.heartbeats))
            publisher = Publisher(self._settings, "andon-camera", delivery_timeout_s=_GIVE_UP_S)
            try:
                self._publish(publisher)
            except PublishError:
                publisher.close(flush_timeout_s=0)
                raise
            self._link.up(publisher)
            self._attempted = True
            log.info("Kafka takes records")
            return
        try:
            self._publish(publisher)
        except PublishError:
            self._link.broke(publisher)
            raise

    def _publish(self, publisher: Publisher) -> None:
        if self._closing.is_set():
            return  # nothing may come after the last heartbeat
        report = self._report()
        publisher.publish(self._records(report), _ANSWER_TIMEOUT_S)
        self._acknowledged_s, self.refusal = time.monotonic(), None
        for owner, tally in report[1].items():
            if tally.end is not BootEnd.RUNNING and not tally.waiting:
                self._ledger.forget(owner)

    def _records(self, report: Report) -> list[Outgoing]:
        moment, tallies = report
        return [
            Outgoing(
                self._topics.heartbeats.name,
                f"{owner.camera_id}:{owner.boot_id}".encode(),
                self._heartbeat(owner, tally, moment).to_json(),
            )
            for owner, tally in tallies.items()
        ]

    def _heartbeat(self, owner: Owner, tally: Tally, moment: datetime) -> Heartbeat:
        return Heartbeat(
            **owner._asdict(),
            captured=tally.captured,
            published=tally.published,
            dropped=tally.dropped,
            buffered=tally.buffered,
            spooled=tally.spooled,
            source_connected=self._connected(owner),
            end=tally.end,
            sent_at=moment,
        )
