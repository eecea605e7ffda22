"""The exact-commit loop: poll → work → deliver → commit. What is not committed is read again.

`poll` is the batcher. One thread alone touches the consumer. While a delivery has to wait (Redis or the broker is
away), the partitions are paused and polling goes on, so the group keeps this member.

With `overlap`, a batch is delivered by a second thread while the first works on the next. Deliveries and commits stay
in order: a batch is handed over only after the one before it was delivered. Batches that follow fast on each other
share a commit, since the loop stands still for as long as the broker takes to answer one.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from typing import Generic

from kafka import KafkaConsumer, OffsetAndMetadata, TopicPartition
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.errors import (
    CommitFailedError,
    IllegalGenerationError,
    KafkaError,
    RebalanceInProgressError,
    UnknownMemberIdError,
)

from pipeline.boot_time import boot_time_s
from pipeline.kafka.batching import BatchSize
from pipeline.kafka.connection import KafkaUnavailableError, connection, no_answer
from pipeline.kafka.delivered import Delivered
from pipeline.kafka.lag import Lag
from pipeline.kafka.mends.anew import Anew
from pipeline.kafka.mends.epochs import begin_by_epoch, position, seek
from pipeline.kafka.mends.expired import Expired
from pipeline.kafka.mends.held_off import HeldOff
from pipeline.kafka.mends.joining import resume_joining
from pipeline.kafka.mends.metadata import ask_for_partitions
from pipeline.kafka.mends.unparking import unpark
from pipeline.kafka.mends.unreadable import incoming, step_over_unreadable
from pipeline.kafka.opening import open_consumer
from pipeline.kafka.rebalances import Rebalances
from pipeline.kafka.records import Incoming
from pipeline.kafka.rights import REFUSALS, or_hidden, refusal
from pipeline.kafka.step import Backpressure, ConsumerOptions, LoopState, Result, Step
from pipeline.settings import Settings
from pipeline.telling import Every

log = logging.getLogger(__name__)

_OPEN_AGAIN_S = 2.0
_METADATA_TIMEOUT_S = 60.0
_METADATA_AGE_MS = 10_000
_MAX_BATCH_BYTES = 64 * 1024 * 1024
_MAX_WORK_MS = 120_000
"""A batch that takes longer loses its partitions."""
_GLANCE_MS = 20
"""Not 0: kafka-python does its network work within `poll`."""
_SLOW_S = 5.0
"""A delivery that takes longer waits for others: the loop goes on polling, or it would count as hung."""
_HELD_OFF_S = 15.0
"""A quota that a batch fits into lets it through within some 11 s."""
_TELL_AGAIN_S = 30.0
"""How often the log repeats what a delivery waits for."""
_HEARTBEATS_A_SESSION = 12
"""Only in the answer to one does a member hear that another came or went, and all of them stand until the last has."""
_COMMIT_EVERY_S = 0.1
"""With `overlap`. What a sudden end or a partition that moves has scored again lies no further back than this and the
batch at work."""
_COMMIT_AGAIN_S = 5.0
"""What was refused amid a rebalance, or while the broker was away, is committed then, though no record may come."""
_LAG_EVERY_S = 0.5
"""While batches come. It takes a call for each partition."""
_LOST_OWNERSHIP = (CommitFailedError, IllegalGenerationError, RebalanceInProgressError, UnknownMemberIdError)


@dataclass(frozen=True)
class _Pending(Generic[Result]):
    """A batch that the second thread delivers."""

    batch: Sequence[Incoming]
    result: Result
    delivered: "Future[None]"
    assignment: int
    """The rebalance that its partitions came with."""


class ConsumerLoop(Generic[Result]):
    """Runs a `Step` until `stop` is set. `run` is the poll thread's main function."""

    def __init__(self, settings: Settings, options: ConsumerOptions, step: Step[Result], stop: threading.Event) -> None:
        self._settings = settings
        self._options = options
        self._step = step
        self._stop = stop
        self.state = LoopState()
        self._size = BatchSize(options.max_batch, options.batch_within_s)
        self._lag = Lag(settings)
        self._expired = Expired()
        self._held_off = HeldOff()
        self._telling_held_off = Every(_TELL_AGAIN_S)
        self._delivered_so_far = Delivered()
        self._committing = Every(_COMMIT_EVERY_S)
        self._commit_from_s = 0.0
        self._looking_at_lag = Every(_LAG_EVERY_S)
        self._undone: Sequence[Incoming] = ()
        """Polled and not delivered yet. No request that keeps the lease may commit past it."""

    def resize(self, max_batch: int) -> None:
        """From the next poll on. It begins with one record again: what the work costs may have changed, too."""
        self._size = BatchSize(max_batch, self._options.batch_within_s)

    def run(self) -> None:
        """Returns after `stop`, with everything delivered committed. Raises what `work` raises, KafkaError, and
        KafkaUnavailableError that names a right that is missing, or the login that is refused."""
        consumer = self._open()
        if consumer is None:
            return
        step_over_unreadable(consumer)
        begin_by_epoch(consumer)
        self._expired.watch(consumer)
        rebalances = Rebalances(self._options.lease)
        if self._options.lease:
            self._options.lease.refresh = partial(self._keep_lease, consumer)
        hands = ThreadPoolExecutor(1, f"{self._options.group}-delivery")
        try:
            consumer.subscribe(list(self._options.topics), listener=rebalances)
            self._await_metadata(consumer)
            try:
                self._turn_until_stopped(consumer, rebalances, hands)
            finally:  # after an error in the step, too: or who is started again delivers the same, again and again
                self._commit(consumer, last=True)
        except REFUSALS as error:
            raise KafkaUnavailableError(refusal(error, "Read")) from error
        finally:
            hands.shutdown()
            consumer.close(autocommit=False, timeout_ms=5_000)

    def _open(self) -> KafkaConsumer | None:
        """Waits for a broker that went away just after its topics were seen. None where `stop` came first."""
        while not self._stop.is_set():
            self.state.turned()
            try:
                return self._consumer()
            except (KafkaError, OSError) as error:
                if not getattr(error, "retriable", True):
                    raise
                log.warning("waiting for the broker: %s", no_answer(self._settings, error))
            self._stop.wait(_OPEN_AGAIN_S)
        return None

    def _consumer(self) -> KafkaConsumer:
        options = self._options
        return open_consumer(
            **connection(self._settings, options.group),
            group_id=options.group,
            allow_auto_create_topics=False,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            heartbeat_interval_ms=int(options.session_timeout_s * 1000 / _HEARTBEATS_A_SESSION),
            fetch_max_bytes=_MAX_BATCH_BYTES,
            fetch_max_wait_ms=200,
            max_partition_fetch_bytes=8 * 1024 * 1024,
            max_poll_interval_ms=_MAX_WORK_MS,
            max_poll_records=options.max_batch,
            # Partitions that were added are read before a sender, who looks every five minutes, finds them.
            metadata_max_age_ms=_METADATA_AGE_MS,
            # Range keeps equal partition numbers of several topics together: a line's scores, operations and state.
            partition_assignment_strategy=(RangePartitionAssignor,),
            session_timeout_ms=int(options.session_timeout_s * 1000),
        )

    def _turn_until_stopped(self, consumer: KafkaConsumer, rebalances: Rebalances, hands: ThreadPoolExecutor) -> None:
        seen, ready = 0, True
        pending: _Pending[Result] | None = None
        anew = Anew(consumer)
        began_s, telling = time.monotonic(), Every(_TELL_AGAIN_S)
        while not self._stop.is_set():
            if made_anew := anew.begin():
                self._delivered_so_far.keep(at for at in consumer.assignment() if at.topic not in made_anew)
            waited_s = time.monotonic() - began_s
            if not rebalances.count and waited_s > _TELL_AGAIN_S and telling.due():
                log.warning(
                    "group %s has not taken this member in for %.0f s, so it reads nothing: the broker that "
                    "coordinates it does not answer, or another member is at work on a long batch",
                    self._options.group,
                    waited_s,
                )
            # What waits for its commit must not wait for records that may never come.
            batch = self._poll(consumer, timeout_ms=_GLANCE_MS if pending else 200)
            self._undone = batch
            self._tell_if_held_off(consumer, batch)
            if rebalances.count != seen:
                self._delivered_so_far.keep(rebalances.ours_since(seen))
                seen, ready = rebalances.count, False
                self._commit_from_s = 0.0  # what was refused amid it need not wait any more
            ready = ready or (self._got_ready(consumer) and self._keep_lease(consumer))
            if not ready:
                _rewind(consumer, batch)
                continue
            result = self._worked(batch, pending) if batch or self._options.ticks else None
            before, pending = pending, None
            if before and not self._delivered(consumer, before, batch, rebalances):
                continue
            if result is not None:
                pending = _Pending(batch, result, hands.submit(self._step.deliver, result), seen)
            if pending and not self._options.overlap:
                self._delivered(consumer, pending, (), rebalances)
                pending = None
            if not self._options.overlap or not batch or self._committing.due():
                self._commit(consumer)
            self._undone = ()
            self._keep_lease(consumer)
            # Not before the batch's work, which a stop may wait for: a broker that hangs takes half a second.
            if batch and self._looking_at_lag.due():
                self._look_at_lag(consumer)
        if pending:
            self._delivered(consumer, pending, (), rebalances)

    def _worked(self, batch: Sequence[Incoming], under_way: "_Pending[Result] | None") -> Result:
        began_s = time.monotonic()
        try:
            result = self._step.work(batch)
        except BaseException:
            if under_way and under_way.delivered.exception() is None:  # waits, as the end of the loop does
                self._delivered_so_far.add(under_way.batch)
            raise
        self._size.took(len(batch), time.monotonic() - began_s)
        return result

    def _got_ready(self, consumer: KafkaConsumer) -> bool:
        """Tells the step what was assigned. False where it has to be told again: the broker went away meanwhile."""
        try:
            self._step.assigned(sorted((at.topic, at.partition) for at in consumer.assignment()))
        except (Backpressure, KafkaUnavailableError) as error:
            if isinstance(error, KafkaUnavailableError) and not error.may_pass:
                raise
            log.warning("not ready yet for what was assigned: %s", error)
            return False
        self.state.at_work = True
        return True

    def _await_metadata(self, consumer: KafkaConsumer) -> None:
        """Before the first poll, which joins the group. A leader that joins before it knows the topics assigns nothing
        to anyone or, once it knows them, starts a second rebalance, which refuses the first commit."""
        deadline = time.monotonic() + _METADATA_TIMEOUT_S
        unknown = list(self._options.topics)
        while unknown and not self._stop.is_set():
            self.state.turned()
            try:
                known = ask_for_partitions(consumer, unknown, timeout_s=8)  # the group's assignor hears it, too
                unknown = [topic for topic, partitions in known.items() if not partitions]
            except KafkaError as error:
                if not error.retriable:
                    raise
                log.warning("waiting for the broker: %s", no_answer(self._settings, error))
                deadline = time.monotonic() + _METADATA_TIMEOUT_S  # of one that answers, and does not tell of them
            if unknown and time.monotonic() > deadline:
                raise KafkaUnavailableError(
                    f"{self._settings.kafka_bootstrap} did not tell of topic {', '.join(map(repr, unknown))} "
                    f"within {_METADATA_TIMEOUT_S:g} s. Is the broker running? Create topics with `andon topics create`"
                    f"{or_hidden(self._settings)}"
                )
            self._stop.wait(0.1 if unknown else 0)

    def _poll(self, consumer: KafkaConsumer, timeout_ms: int) -> list[Incoming]:
        self.state.turned()
        resume_joining(consumer)
        unpark(consumer)
        try:
            polled = consumer.poll(timeout_ms=timeout_ms, max_records=self._size.now)
        except KafkaError as error:
            if not error.retriable:
                raise
            log.warning("poll: %s", error)
            self._stop.wait(0.5)
            return []
        batch = [incoming(record) for records in polled.values() for record in records]
        fits = self._size.cut([self._options.weigh(record) for record in batch])
        _rewind(consumer, batch[fits:])
        batch = batch[:fits]
        self.state.deleted_unread += self._expired.tell(batch)
        for record in batch:
            if record.unreadable:
                log.error("%s can't be read: %s", record.place, record.unreadable)
        if not batch:
            self._look_at_lag(consumer)
        return batch

    def _look_at_lag(self, consumer: KafkaConsumer) -> None:
        self.state.lag = self._lag.of(consumer)
        self.state.lag_told_at_s = self._lag.told_at_s

    def _tell_if_held_off(self, consumer: KafkaConsumer, batch: Sequence[Incoming]) -> None:
        held_off_s = self._held_off.for_s(consumer, bool(batch))
        self.state.waiting_for = None
        if held_off_s > _HELD_OFF_S:
            self.state.waiting_for = (
                f"Kafka holds client id {self._options.group} off by a quota, and has let nothing through for "
                f"{held_off_s:.0f} s: 10 s of its consumer_byte_rate must hold the largest batch; or its "
                "request_percentage is too small"
            )
            if self._telling_held_off.due():
                log.warning("%s", self.state.waiting_for)

    def _delivered(
        self,
        consumer: KafkaConsumer,
        pending: "_Pending[Result]",
        newer: Sequence[Incoming],
        rebalances: Rebalances,
    ) -> bool:
        """Waits. If it could not be delivered, whoever owns its partitions now, perhaps we, reads it again, and the
        newer records after it."""
        attempt: Callable[[], None] = pending.delivered.result
        wait_s, telling = 0.1, Every(_TELL_AGAIN_S)
        begun_s = time.monotonic()
        try:
            while True:
                under_way = self._options.overlap and bool(wait([pending.delivered], _SLOW_S).not_done)
                if under_way:
                    slow_s = time.monotonic() - begun_s
                    reason: str | None = f"it has been under way for {slow_s:.0f} s, so slowly is it answered"
                else:
                    reason = _why_not(attempt)
                if reason is None:
                    self._delivered_so_far.add(pending.batch)
                    self._delivered_so_far.keep(rebalances.ours_since(pending.assignment))
                    return True
                if telling.due():
                    log.warning("delivery waits: %s", reason)
                self.state.waiting_for = reason
                self._commit(consumer)
                if self._stop.is_set() and not under_way:
                    _rewind(consumer, [*pending.batch, *newer])
                    return False
                consumer.pause(*consumer.assignment())
                fresh = self._poll(consumer, timeout_ms=int(wait_s * 1000))
                if fresh or rebalances.count != pending.assignment:
                    log.warning("partitions moved while a delivery waited; the batch is read again by their owner")
                    _rewind(consumer, [*pending.batch, *newer, *fresh])
                    return False
                # The delivery may wait for the lease itself, and nothing else renews it meanwhile.
                self._keep_lease(consumer)
                wait_s = min(wait_s * 2, 2.0)
                if not under_way:
                    attempt = partial(self._step.deliver, pending.result)
        finally:
            if self.state.waiting_for is not None:
                self.state.waiting_for = None
                consumer.resume(*consumer.paused())

    def _commit(self, consumer: KafkaConsumer, *, last: bool = False) -> None:
        if time.monotonic() < self._commit_from_s and not last:
            return
        delivered = self._delivered_so_far
        delivered.keep(consumer.assignment())
        self._commit_ends(consumer, delivered.ends)
        if delivered.ends and self._options.lease:
            delivered.keep(())  # what keeps the lease commits it, too
        elif delivered.ends:
            self._commit_from_s = time.monotonic() + _COMMIT_AGAIN_S

    def _keep_lease(self, consumer: KafkaConsumer) -> bool:
        """A commit is a request that the broker takes from a living member only; this one repeats the last. An
        assignment is none: a poll hands over what was answered long before it, where the loop was held up meanwhile.
        False where the broker says that we are no member. Getting ready, which may take minutes where Kafka is slow,
        asks for it again and again: a loop that does has not stopped."""
        self.state.turned()
        lease = self._options.lease
        if lease and lease.due:
            try:
                ends = {at: position(consumer, at, timeout_ms=1_000) for at in consumer.assignment()}
                ends |= {at: first for at, first in _firsts(self._undone).items() if at in ends}
            except KafkaError as error:
                if not error.retriable:
                    raise
                log.warning("the lease is not renewed: %s", error)
                return True
            return self._commit_ends(consumer, {at: end for at, end in ends.items() if end is not None})
        return True

    def _commit_ends(self, consumer: KafkaConsumer, ends: Mapping[TopicPartition, OffsetAndMetadata]) -> bool:
        """False where the broker takes us for no member any more."""
        if not ends:
            return True
        asked_at_s = boot_time_s()
        try:
            consumer.commit(dict(ends), timeout_ms=5_000)
            self.state.records += self._delivered_so_far.committed(ends)
            if self._options.lease:
                self._options.lease.renew(asked_at_s)
        except _LOST_OWNERSHIP as error:
            log.warning("commit refused, what moves to another member will be read again: %s", error)
            return False
        except KafkaError as error:
            if not error.retriable:
                raise
            log.warning("commit did not get through: %s", error)
        return True


def _why_not(attempt: Callable[[], None]) -> str | None:
    """None: it was delivered."""
    try:
        attempt()
    except Backpressure as reason:
        return str(reason)
    return None


def _rewind(consumer: KafkaConsumer, records: Sequence[Incoming]) -> None:
    """Back to the first of these. A partition that stayed with us through a rebalance keeps its position, so without
    this its records would be skipped."""
    firsts = _firsts(records)
    for at in firsts.keys() & consumer.assignment():
        seek(consumer, at, firsts[at])


def _firsts(records: Sequence[Incoming]) -> dict[TopicPartition, OffsetAndMetadata]:
    """Where the first of each partition stands."""
    firsts: dict[TopicPartition, OffsetAndMetadata] = {}
    for record in records:
        at = TopicPartition(record.topic, record.partition)
        if at not in firsts or record.offset < firsts[at].offset:
            firsts[at] = OffsetAndMetadata(record.offset, "", record.leader_epoch)
    return firsts
