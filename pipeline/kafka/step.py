"""What a worker gives to the loop, and what the loop shows of itself."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from pipeline.kafka.lease import Lease
from pipeline.kafka.records import Incoming

Result = TypeVar("Result")


class Backpressure(Exception):
    """Raised by `deliver` when something downstream is away: the same result is delivered again later."""


class Step(Protocol[Result]):
    """What a worker does with a batch."""

    def assigned(self, partitions: Sequence[tuple[str, int]]) -> None:
        """After every rebalance, before the first batch of the new assignment. Forget what was derived before.

        Called again after Backpressure, and after KafkaUnavailableError that may pass."""

    def work(self, batch: Sequence[Incoming]) -> Result:
        """Computes. No effect outside the process. None: nothing has to be delivered. A record that can't be read is in
        its place, `unreadable`, so that whoever counts records can count it."""

    def deliver(self, result: Result) -> None:
        """Makes the effects durable; returning means that the batch may be committed. May be called again with the
        same result after Backpressure, so doing it twice must change nothing."""


@dataclass(frozen=True)
class ConsumerOptions:
    group: str
    topics: tuple[str, ...]
    max_batch: int = 16
    """Records a poll, at most. One poll is one batch."""
    batch_within_s: float = 10
    """Fewer are taken where work on so many would take longer."""
    weigh: Callable[[Incoming], float] = lambda record: 1
    """How much work a record is, beside others."""
    session_timeout_s: float = 10
    """How long the group waits for a member that died before others take its partitions."""
    overlap: bool = False
    """Work on a batch while the one before it is delivered. Only for a step whose work depends on no delivery."""
    ticks: bool = False
    """Call `work` with nothing whenever a poll brings nothing, for a step that also goes by the clock."""
    lease: Lease | None = None
    """Kept renewed while the broker takes this member for a living one. Not with `overlap`."""


@dataclass
class LoopState:
    """What the loop is doing, for health checks and metrics. Written by the loop alone."""

    last_turn_monotonic_s: float = field(default_factory=time.monotonic)
    """Moves with every poll and every retry."""
    waiting_for: str | None = None
    """What a delivery waits for, or reading, if it does."""
    lag: Mapping[tuple[str, int], int] = field(default_factory=dict)
    lag_told_at_s: float | None = None
    """By the monotonic clock: when the broker last told of it. None: never yet, or we have no partition."""
    records: int = 0
    """That were worked off here. What is read again by another owner counts there."""
    deleted_unread: int = 0
    """Records that Kafka deleted before they were read here."""
    at_work: bool = False
    """Whether the group has taken this member in, and the step what it was assigned. It stays so."""

    def turned(self) -> None:
        self.last_turn_monotonic_s = time.monotonic()
