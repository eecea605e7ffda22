"""The exact-commit loop: poll → work → deliver → commit. What is not committed is read again.

`poll` is the batcher. One thread alone touches the consumer. While a delivery has to wait (Redis or the broker is
away), the partitions are paused and polling goes on, so the group keeps this member.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Generic, Protocol, TypeVar

from kafka import ConsumerRebalanceListener, KafkaConsumer, OffsetAndMetadata, TopicPartition
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.errors import (
    CommitFailedError,
    IllegalGenerationError,
    KafkaError,
    RebalanceInProgressError,
    UnknownMemberIdError,
)

from pipeline.kafka.connection import KafkaUnavailableError, connection
from pipeline.kafka.records import Incoming
from pipeline.settings import Settings

log = logging.getLogger(__name__)

Result = TypeVar("Result")

_METADATA_TIMEOUT_S = 60.0
_LOST_OWNERSHIP = (CommitFailedError, IllegalGenerationError, RebalanceInProgressError, UnknownMemberIdError)


class Backpressure(Exception):
    """Raised by `deliver` when something downstream is away: the same result is delivered again later."""


class Step(Protocol[Result]):
    """What a worker does with a batch."""

    def assigned(self, partitions: Sequence[tuple[str, int]]) -> None:
        """After every rebalance, before the first batch of the new assignment. Forget what was derived before."""

    def work(self, batch: Sequence[Incoming]) -> Result:
        """Computes. No effect outside the process."""

    def deliver(self, result: Result) -> None:
        """Makes the effects durable; returning means that the batch may be committed. May be called again with the
        same result after Backpressure, so doing it twice must change nothing."""


@dataclass(frozen=True)
class ConsumerOptions:
    group: str
    topics: tuple[str, ...]
    max_batch: int = 16
    """Records a poll. One poll is one batch and one commit."""
    max_batch_bytes: int = 64 * 1024 * 1024
    session_timeout_s: float = 10
    """How long the group waits for a member that died before others take its partitions."""
    max_work_s: float = 120
    """A batch that takes longer loses its partitions."""


@dataclass
class LoopState:
    """What the loop is doing, for health checks and metrics. Written by the loop alone."""

    last_turn_monotonic_s: float = field(default_factory=time.monotonic)
    """Moves with every poll and every retry."""
    waiting_for: str | None = None
    """What a delivery waits for, if it does."""
    lag: Mapping[tuple[str, int], int] = field(default_factory=dict)
    batches: int = 0
    records: int = 0
    commits_lost: int = 0
    """Commits refused because the partitions had moved on; their batches were read again elsewhere."""


class ConsumerLoop(Generic[Result]):
    """Runs a `Step` until `stop` is set. `run` is the poll thread's main function."""

    def __init__(self, settings: Settings, options: ConsumerOptions, step: Step[Result], stop: threading.Event) -> None:
        self._settings = settings
        self._options = options
        self._step = step
        self._stop = stop
        self.state = LoopState()

    def run(self) -> None:
        """Returns after `stop`, with everything delivered committed. Raises what `work` raises, and KafkaError."""
        options = self._options
        consumer = KafkaConsumer(
            **connection(self._settings, options.group),
            group_id=options.group,
            allow_auto_create_topics=False,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            heartbeat_interval_ms=int(options.session_timeout_s * 1000 / 4),
            fetch_max_bytes=options.max_batch_bytes,
            fetch_max_wait_ms=200,
            max_partition_fetch_bytes=min(8 * 1024 * 1024, options.max_batch_bytes),
            max_poll_interval_ms=int(options.max_work_s * 1000),
            max_poll_records=options.max_batch,
            # Range keeps equal partition numbers of several topics together: a line's scores, operations and state.
            partition_assignment_strategy=(RangePartitionAssignor,),
            session_timeout_ms=int(options.session_timeout_s * 1000),
        )
        rebalances = _Rebalances()
        seen = 0
        try:
            self._await_metadata(consumer)
            consumer.subscribe(list(options.topics), listener=rebalances)
            while not self._stop.is_set():
                batch = self._poll(consumer, timeout_ms=200)
                if rebalances.count != seen:
                    seen = rebalances.count
                    self._step.assigned(sorted((at.topic, at.partition) for at in consumer.assignment()))
                if not batch:
                    continue
                result = self._step.work(batch)
                if self._deliver(consumer, batch, result, partial(rebalances.unchanged_since, seen)):
                    self._commit(consumer, batch)
                    self.state.batches += 1
                    self.state.records += len(batch)
        finally:
            consumer.close(autocommit=False, timeout_ms=5_000)

    def _await_metadata(self, consumer: KafkaConsumer) -> None:
        """Joining a group before the topics are known can make this member, as the group's leader, assign nothing to
        anyone, and nothing then starts another assignment (seen on a busy machine)."""
        deadline = time.monotonic() + _METADATA_TIMEOUT_S
        unknown = list(self._options.topics)
        while unknown and not self._stop.is_set():
            try:
                unknown = [topic for topic in unknown if not consumer.partitions_for_topic(topic)]
            except KafkaError as error:
                if not error.retriable:
                    raise
                log.warning("waiting for the broker: %s", error)
            if unknown and time.monotonic() > deadline:
                raise KafkaUnavailableError(
                    f"{self._settings.kafka_bootstrap} did not tell of topic {', '.join(map(repr, unknown))} "
                    f"within {_METADATA_TIMEOUT_S:g} s. Is the broker running? Create topics with `andon topics create`"
                )
            self._stop.wait(0.1 if unknown else 0)

    def _poll(self, consumer: KafkaConsumer, timeout_ms: int) -> list[Incoming]:
        self.state.last_turn_monotonic_s = time.monotonic()
        try:
            polled = consumer.poll(timeout_ms=timeout_ms)
        except KafkaError as error:
            if not error.retriable:
                raise
            log.warning("poll: %s", error)
            self._stop.wait(0.5)
            return []
        self.state.lag = _lag(consumer)
        return [
            Incoming(r.topic, r.partition, r.offset, r.timestamp, r.key, r.value, tuple(r.headers))
            for records in polled.values()
            for r in records
        ]

    def _deliver(
        self, consumer: KafkaConsumer, batch: Sequence[Incoming], result: Result, still_ours: Callable[[], bool]
    ) -> bool:
        """Whether the batch was delivered. If not, whoever owns its partitions now, perhaps we, reads it again."""
        wait_s = 0.1
        try:
            while True:
                try:
                    self._step.deliver(result)
                    return True
                except Backpressure as reason:
                    if self.state.waiting_for is None:
                        log.warning("delivery waits: %s", reason)
                    self.state.waiting_for = str(reason)
                if self._stop.is_set():
                    return False
                consumer.pause(*consumer.assignment())
                fresh = self._poll(consumer, timeout_ms=int(wait_s * 1000))
                if fresh or not still_ours():
                    log.warning("partitions moved while a delivery waited; the batch is read again by their owner")
                    _rewind(consumer, [*batch, *fresh])
                    return False
                wait_s = min(wait_s * 2, 2.0)
        finally:
            if self.state.waiting_for is not None:
                self.state.waiting_for = None
                consumer.resume(*consumer.paused())

    def _commit(self, consumer: KafkaConsumer, batch: Sequence[Incoming]) -> None:
        ends: dict[TopicPartition, int] = {}
        for record in batch:
            at = TopicPartition(record.topic, record.partition)
            ends[at] = max(ends.get(at, 0), record.offset + 1)
        try:
            consumer.commit({at: OffsetAndMetadata(end) for at, end in ends.items()}, timeout_ms=5_000)
        except _LOST_OWNERSHIP as error:
            self.state.commits_lost += 1
            log.warning("commit refused, the batch will be read again: %s", error)
        except KafkaError as error:
            if not error.retriable:
                raise
            # The effects are durable and idempotent; the next commit of these partitions covers this one too.
            self.state.commits_lost += 1
            log.warning("commit did not get through: %s", error)


class _Rebalances(ConsumerRebalanceListener):  # type: ignore[misc]
    """Counts assignments. It runs on the client's own thread, where nothing may block."""

    def __init__(self) -> None:
        self.count = 0

    def unchanged_since(self, count: int) -> bool:
        return self.count == count

    def on_partitions_revoked(self, revoked: object) -> None:
        pass

    def on_partitions_assigned(self, assigned: object) -> None:
        self.count += 1


def _rewind(consumer: KafkaConsumer, records: Sequence[Incoming]) -> None:
    """Back to the first of these. A partition that stayed with us through a rebalance keeps its position, so without
    this its records would be skipped."""
    firsts: dict[TopicPartition, int] = {}
    for record in records:
        at = TopicPartition(record.topic, record.partition)
        firsts[at] = min(firsts.get(at, record.offset), record.offset)
    for at in firsts.keys() & consumer.assignment():
        consumer.seek(at, firsts[at])


def _lag(consumer: KafkaConsumer) -> dict[tuple[str, int], int]:
    lag = {}
    for at in consumer.assignment():
        end = consumer.highwater(at)
        if end is not None:
            try:
                lag[at.topic, at.partition] = max(0, end - (consumer.position(at, timeout_ms=0) or 0))
            except KafkaError:
                continue
    return lag
