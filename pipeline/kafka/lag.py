"""How much waits in the partitions that a consumer reads, and that the broker, asked for it, answers no more."""

import logging
import threading
import time
from collections.abc import Mapping
from contextlib import suppress

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from pipeline.kafka.connection import no_answer
from pipeline.kafka.mends import bounds
from pipeline.kafka.mends.held_off import is_held_off
from pipeline.settings import Settings

log = logging.getLogger(__name__)

_ENDS_AGE_S = 2.0
_ENDS_TIMEOUT_MS = 500
_TELL_SILENCE_AFTER_S = 30.0


class Lag:
    """Belongs to the consumer's own thread."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._ends: Mapping[TopicPartition, int] = {}
        self._ends_at_s = float("-inf")
        self._tell_silence_at_s = time.monotonic() + _TELL_SILENCE_AFTER_S
        self.told_at_s: float | None = None
        """By the monotonic clock: when the broker last said where the partitions end. None while we have none."""

    def of(self, consumer: KafkaConsumer) -> dict[tuple[str, int], int]:
        """(topic, partition) → records that wait. Asks the broker where the partitions end: the client hears it with
        what it fetches, and while it has records in store, thousands of small ones, it fetches no more."""
        ours = consumer.assignment()
        if time.monotonic() - self._ends_at_s > _ENDS_AGE_S and not is_held_off(consumer):
            try:
                self._ends = bounds.ends(consumer, ours, _ENDS_TIMEOUT_MS)
                self._tell_silence_at_s = time.monotonic() + _TELL_SILENCE_AFTER_S
                self.told_at_s = time.monotonic() if ours else None  # of none the client asks nobody
            except KafkaError as error:
                self._tell_silence(error)
            self._ends_at_s = time.monotonic()
        lag = {}
        for at in ours:
            with suppress(KafkaError):
                end = max(consumer.highwater(at) or 0, self._ends.get(at, 0))
                begin = consumer.position(at, timeout_ms=0)
                if begin is not None:  # not known yet: that all of the log waits would be no answer
                    lag[at.topic, at.partition] = max(0, end - begin)
        return lag

    def _tell_silence(self, error: KafkaError) -> None:
        """The client tells of each connection, and of no certificate that is the reason. Aside, since a broker that
        hangs takes seconds to tell nothing."""
        if time.monotonic() > self._tell_silence_at_s:
            self._tell_silence_at_s = time.monotonic() + _TELL_SILENCE_AFTER_S

            def tell() -> None:
                log.warning("%s", no_answer(self._settings, error))

            threading.Thread(target=tell, name="kafka-is-silent", daemon=True).start()
