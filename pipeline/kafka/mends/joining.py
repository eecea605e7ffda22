"""Joins a group with short polls. kafka-python 3.0.12 loses sight of a join that outlasts the poll it began in."""

from collections.abc import Callable
from typing import Any

from kafka import KafkaConsumer


def resume_joining(consumer: KafkaConsumer) -> None:
    """Before each poll. There is no public way to do this.

    A join that began for new metadata is forgotten: its answer comes, nobody takes it, and the member stands still for
    ever. And one that was done between two polls is asked for anew, which begins another rebalance for all: the more
    members a group has, the longer it comes to no end.
    """
    coordinator = consumer._coordinator
    if coordinator.rejoining:
        coordinator.rejoin_needed = True
        join = coordinator._join_task
        if join is not None and join.is_done and join.exception is None:
            coordinator._join_task = _Joined(join.value)


class _Joined:
    """The answer to a join, for a client that awaits only what is not done yet."""

    is_done = False
    exception = None

    def __init__(self, assignment: Any) -> None:
        self._assignment = assignment

    def add_callback(self, call: Callable[[Any], None]) -> None:
        call(self._assignment)

    def add_errback(self, call: Callable[[BaseException], None]) -> None:
        """It did not fail."""
