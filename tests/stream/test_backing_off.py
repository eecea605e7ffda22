"""What takes connections and hangs up at once is not tried again at once."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.kafka.mends.backing_off import back_off

pytestmark = pytest.mark.unit

NODE = SimpleNamespace(node_id=1)


class Manager:
    """The library's, as far as it counts failures."""

    def __init__(self, *, answers: bool, counts: bool = False) -> None:
        self._backoff: dict[int, int] = {}
        self.answers = answers
        self.counts = counts

    async def _connect(self, node: Any, conn: Any, reset_backoff_on_connect: bool = True) -> None:
        conn.connected = self.answers
        if self.counts:
            self.update_backoff(node.node_id)
        elif reset_backoff_on_connect:
            self.reset_backoff(node.node_id)

    def update_backoff(self, node_id: int) -> None:
        self._backoff[node_id] = self._backoff.get(node_id, 0) + 1

    def reset_backoff(self, node_id: int) -> None:
        self._backoff.pop(node_id, None)


def failures(manager: Manager, tries: int) -> int:
    back_off(manager)
    for _ in range(tries):
        asyncio.run(manager._connect(NODE, SimpleNamespace(connected=False)))
    return manager._backoff.get(NODE.node_id, 0)


def test_a_connection_that_never_answered_counts_as_failed() -> None:
    assert failures(Manager(answers=False), 3) == 3


def test_a_failure_that_the_library_counts_itself_counts_once() -> None:
    assert failures(Manager(answers=False, counts=True), 3) == 3


def test_one_that_answers_forgets_the_failures() -> None:
    manager = Manager(answers=True)
    manager.update_backoff(NODE.node_id)
    assert failures(manager, 1) == 0
