"""Begins a topic at its beginning that was deleted and made anew under its name.

kafka-python 3.0.12 sees by its id that it is another one, and says so in its log, but reads on at the offset that it
had reached in the old one. Where the new one had grown beyond that before anything was fetched from it, as while
deliveries waited for Redis, its first records were passed over for good.
"""

import logging
from uuid import UUID

from kafka import KafkaConsumer

log = logging.getLogger(__name__)


class Anew:
    """Remembers the ids of the topics that one consumer reads."""

    def __init__(self, consumer: KafkaConsumer) -> None:
        self._consumer = consumer
        self._ids: dict[str, UUID] = {}

    def begin(self) -> set[str]:
        """Between two batches: whatever goes back to the place of an older record comes before it. Returns those that
        were made anew since it was last called."""
        begun = set()
        places = self._consumer.assignment()
        for topic in {at.topic for at in places}:
            found = self._consumer._cluster.topic_id(topic)  # there is no public way to ask
            if not found:
                continue  # deleted, and not there again; or a broker that knows no ids
            if self._ids.setdefault(topic, found) != found:
                self._ids[topic] = found
                begun.add(topic)
                log.warning("topic %r was deleted and made anew; it is read from its beginning", topic)
                self._consumer.seek_to_beginning(*(at for at in places if at.topic == topic))
        return begun
