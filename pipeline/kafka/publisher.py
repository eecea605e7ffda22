"""Publishing that survives its producer.

kafka-python's idempotent producer is dead for good after one non-retriable error: every later send fails. And one whose
records waited for a broker until they expired has been seen to go on waiting after the broker was back. So the producer
here is disposable: after either it is thrown away, and the next send builds another. Not before the former has ended,
though: it sends what it still holds as soon as Kafka is back, and a heartbeat that was given up came after the last.
"""

import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Protocol

from kafka import KafkaProducer
from kafka.errors import (
    BrokerResponseError,
    IllegalStateError,
    InvalidProducerEpochError,
    KafkaError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    NotEnoughReplicasAfterAppendError,
    NotLeaderForPartitionError,
    OutOfOrderSequenceNumberError,
    RequestTimedOutError,
    UnknownProducerIdError,
)

from pipeline.errors import AndonError
from pipeline.kafka.connection import REQUEST_TIMEOUT_MS, KafkaUnavailableError, connection, no_answer
from pipeline.kafka.opening import open_producer
from pipeline.kafka.partitioning import partition_of
from pipeline.kafka.records import Outgoing
from pipeline.kafka.rights import REFUSALS, refusal
from pipeline.settings import Settings
from pipeline.topics import MAX_DEAD_RECORD_BYTES
from pipeline.unsent import FORGET_UNSENT

_OF_THE_PRODUCER = (IllegalStateError, InvalidProducerEpochError, OutOfOrderSequenceNumberError, UnknownProducerIdError)
"""Another producer's records are taken. What a broker says that has lost the end of its log, and what the client says
that was thrown away meanwhile, for a record of another thread."""

_UNDECIDED = (NotEnoughReplicasAfterAppendError, NotLeaderForPartitionError, RequestTimedOutError)
"""What a broker says also of a record that it has written, and whose replicas it waited for."""

ENDS_WITHIN_S = 8.0
"""A producer that is thrown away: a second for what Kafka still takes, and what its thread may wait for a broker."""
_PARTITIONS_HOLD_S = 5.0
"""The client itself looks for new partitions every five minutes only."""


class Receipt(Protocol):
    """What became of a record that was handed over. The client library's future is one."""

    is_done: bool
    exception: BaseException | None

    def add_callback(self, f: Callable[[object], None]) -> object:
        """`f` is called on the client's thread once the broker has the record, at once where it has it already."""
        ...


class PublishError(AndonError):
    """Some records were not acknowledged. `retriable`: the broker may take the same records later. `refused`: it does
    once a person gives us the right, or the topic its limit back. `may_come`: it may have them, or some of them, as
    where it did not answer."""

    def __init__(self, message: str, *, retriable: bool, refused: bool = False, may_come: bool = False) -> None:
        super().__init__(message)
        self.retriable = retriable
        self.refused = refused
        self.may_come = may_come

    @property
    def may_pass(self) -> bool:
        """Whether to wait. Who ends for want of a right is started again, meets the same record, and ends again."""
        return self.retriable or self.refused


class Publisher:
    """Thread-safe. Holds no bound on bytes in flight: `publish` waits for what it sent, and whoever uses `hand_over`
    counts its own bytes (the client library would buffer without end)."""

    def __init__(self, settings: Settings, client_id: str, *, delivery_timeout_s: float = 30) -> None:
        """delivery_timeout_s: then the client gives a record up. More than one request's time-out (15 s).

        Raises ValueError otherwise.
        """
        if delivery_timeout_s * 1000 <= REQUEST_TIMEOUT_MS:
            raise ValueError(
                f"delivery_timeout_s must exceed {REQUEST_TIMEOUT_MS / 1000:g}, not {delivery_timeout_s:g}"
            )
        self._settings = settings
        self._connection = partial(connection, settings, client_id)
        self._connection()  # tells now what is wrong
        self._arguments = {
            "acks": "all",
            "allow_auto_create_topics": False,
            # One batch per partition is in flight: small batches would wait for each other's round trips.
            "batch_size": 2 * 1024 * 1024,
            "delivery_timeout_ms": int(delivery_timeout_s * 1000),
            "enable_idempotence": True,
            "linger_ms": 0,
            "max_block_ms": 15_000,
            "max_request_size": MAX_DEAD_RECORD_BYTES,
            # Nor may what is given up come from the system's buffers.
            "socket_options": [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1), FORGET_UNSENT],
        }
        self._lock = threading.Lock()
        self._producer: Any = None
        self._ending: threading.Thread | None = None
        """Of the producer before, which may send something still."""
        self._closed = False
        self._partitions: dict[tuple[str, bytes], int] = {}
        self._partitions_at_s = 0.0

    def hand_over(self, record: Outgoing, on_error: Callable[[BaseException], None]) -> Receipt:
        """For those who send thousands a second and look at the receipts themselves: a call for each success would take
        a good part of what sending costs. `on_error` is called on the client's own thread.

        record: with a key. Raises PublishError when it could not even be handed over; `on_error` is then not called.
        """
        producer = self._current()
        try:
            with self._sending(producer, record):
                future: Any = producer.send(
                    record.topic,
                    key=record.key,
                    value=record.value,
                    headers=record.headers,
                    partition=self._partition(producer, record.topic, record.key or b""),
                )
        except ValueError as error:  # of a partition that is gone: the topic was made anew, with fewer
            self._partitions = {}
            raise PublishError(f"topic {record.topic!r} has other partitions now: {error}", retriable=True) from error
        future.add_errback(on_error)
        receipt: Receipt = future
        return receipt

    def _partition(self, producer: KafkaProducer, topic: str, key: bytes) -> int:
        """Where the client would put it; it hashes the key anew for each record, and slowly."""
        now_s = time.monotonic()
        if now_s - self._partitions_at_s > _PARTITIONS_HOLD_S:
            self._partitions, self._partitions_at_s = {}, now_s
        found = self._partitions.get((topic, key))
        if found is None:
            found = self._partitions[topic, key] = partition_of(key, len(producer.partitions_for(topic)))
        return found

    def publish(self, records: Iterable[Outgoing], timeout_s: float = 30) -> None:
        """Sends all and waits until the broker has every one. Raises PublishError for the first that failed."""
        sent: list[tuple[Outgoing, KafkaProducer, Any]] = []
        for record in records:
            try:
                producer = self._current()
                with self._sending(producer, record):
                    receipt = producer.send(
                        record.topic, key=record.key, value=record.value, headers=list(record.headers)
                    )
            except PublishError as error:
                error.may_come = bool(sent)
                raise
            receipt.add_errback(partial(self._discard_if_dead, producer))
            sent.append((record, producer, receipt))
        deadline = time.monotonic() + timeout_s
        for number, (record, producer, receipt) in enumerate(sent):
            try:
                receipt.get(max(0.0, deadline - time.monotonic()))
            except Exception as error:
                if error is receipt.exception:
                    self._discard_if_dead(producer, error)  # its own call may not be over yet
                    raise _answered(record, error, after_others=number > 0) from error
                self._discard(producer)
                raise PublishError(
                    f"no acknowledgement for a record to {record.topic!r} in {timeout_s:g} s",
                    retriable=True,
                    may_come=True,
                ) from error

    @contextmanager
    def _sending(self, producer: KafkaProducer, record: Outgoing) -> Iterator[None]:
        try:
            yield
        except KafkaError as error:
            self._discard_if_dead(producer, error)
            raise _publish_error(record, error) from error

    def close(self, flush_timeout_s: float = 10) -> None:
        """Waits for what is in flight, at most the time given. Nothing can be sent afterwards."""
        with self._lock:
            self._closed = True
            producer, self._producer = self._producer, None
        if producer is not None:
            with suppress(KafkaError):  # each record's receipt tells
                producer.flush(timeout=flush_timeout_s)  # close() alone would give it one second
            _end(producer)
        if self._ending:
            self._ending.join(ENDS_WITHIN_S)

    def _current(self) -> KafkaProducer:
        while True:
            with self._lock:
                if self._closed:
                    raise PublishError("the publisher is closed", retriable=False)
                if self._producer is not None:
                    return self._producer
                ending = self._ending
                if ending is None or not ending.is_alive():
                    self._producer = self._open()
                    return self._producer
            ending.join(ENDS_WITHIN_S)  # without the lock: of what it gives up, `_discard` hears
            if ending.is_alive():
                raise PublishError("the client before still holds records that Kafka did not take", retriable=True)

    def _open(self) -> KafkaProducer:
        try:
            return open_producer(**self._connection(), **self._arguments)
        except KafkaUnavailableError as error:
            raise PublishError(str(error), retriable=True) from error
        except KafkaError as error:
            raise PublishError(str(no_answer(self._settings, error)), retriable=error.retriable) from error

    def _discard_if_dead(self, producer: KafkaProducer, error: BaseException) -> None:
        if isinstance(error, KafkaTimeoutError) or not getattr(error, "retriable", False):
            self._discard(producer)

    def _discard(self, producer: KafkaProducer) -> None:
        with self._lock:
            if self._producer is producer:
                self._producer = None
                # Not here: this may be the producer's own thread, which close() would join.
                self._ending = threading.Thread(target=_end, args=(producer,), daemon=True)
                self._ending.start()


def _end(producer: KafkaProducer) -> None:
    """Ends it even if it holds records that Kafka does not take. Its own close() then raises and leaves its thread
    alive, which would send those records once Kafka is back: after newer ones of another producer."""
    with suppress(KafkaError):
        producer.close(timeout=1)
        return
    producer._sender.force_close()  # there is no public way
    producer._sender.join(timeout=5)
    with suppress(KafkaError):
        producer.close(timeout=1)


def _answered(record: Outgoing, error: BaseException, *, after_others: bool) -> PublishError:
    """By the broker, which never sees what is beyond our own limit; or by the client, which gave it up."""
    fault = _publish_error(record, error)
    if isinstance(error, MessageSizeTooLargeError):
        told = f"{_not_taken(record)}: that is more than this topic takes; `andon topics check` tells its mend"
        fault = PublishError(told, retriable=False, refused=True)
    elif isinstance(error, _UNDECIDED) or not isinstance(error, BrokerResponseError):
        told = f"no acknowledgement for a record to {record.topic!r}: {error}"
        return PublishError(told, retriable=fault.retriable, may_come=True)
    fault.may_come = after_others
    return fault


def _publish_error(record: Outgoing, error: BaseException) -> PublishError:
    return PublishError(
        f"{_not_taken(record)}: {refusal(error, 'Write')}",
        retriable=bool(getattr(error, "retriable", False)) or isinstance(error, _OF_THE_PRODUCER),
        refused=isinstance(error, REFUSALS),
    )


def _not_taken(record: Outgoing) -> str:
    return f"record of {len(record.value or b'')} bytes to {record.topic!r} was not taken"
