"""What a person asks of a line's alarms. The page publishes it; the alerting worker decides."""

from __future__ import annotations

import threading
import time
import uuid
from collections import OrderedDict
from concurrent.futures import Future
from datetime import datetime
from typing import get_args

from pipeline.events import Operation, PersonsAct
from pipeline.kafka.publisher import Publisher
from pipeline.kafka.records import Outgoing
from pipeline.settings import Settings
from workers.alerting.people.asking import NotAskedError, in_words
from workers.console.identity import Identity
from workers.console.memory import Memory

PERSONS_ACTS: dict[str, PersonsAct] = {act.value: act for act in get_args(PersonsAct)}
PUBLISH_TIMEOUT_S = 10.0
ANSWER_S = 4.0
"""So long an act waits for its outcome before the page goes on without it."""
_REMEMBERED = 2000


class Acts:
    """Thread-safe."""

    def __init__(self, settings: Settings, publisher: Publisher, memory: Memory) -> None:
        self._topic = settings.topics.operations.name
        self._publisher = publisher
        self._memory = memory
        self._lock = threading.Lock()
        self._asked: OrderedDict[uuid.UUID, Future[None]] = OrderedDict()
        """Done once Kafka has it."""

    def ask(
        self,
        who: Identity,
        line_id: str,
        act: PersonsAct,
        *,
        operation_id: uuid.UUID,
        reason: str,
        shown_at: datetime,
        alarm_id: uuid.UUID | None = None,
        shelve_for_s: float | None = None,
    ) -> None:
        """`shown_at`: when the person saw how things stood; an alarm that came later is not meant.

        Publishes an Operation and waits for the broker. The same id twice (a double click, a page sent again) is
        asked once. Raises NotAskedError."""
        if not reason.strip():
            raise NotAskedError("say why: the reason is kept with the alarm")
        with in_words():
            operation = Operation(
                operation_id=operation_id,
                line_id=line_id,
                act=act,
                alarm_id=alarm_id,
                actor=who.name,
                role=who.role.value,
                reason=reason.strip(),
                shelve_for_s=shelve_for_s,
                asked_at=shown_at,
            )
        with self._lock:
            first = self._asked.get(operation_id)
            asked = self._asked[operation_id] = first or Future()
            while len(self._asked) > _REMEMBERED:
                self._asked.popitem(last=False)
        if first:
            first.result()  # what became of it; it has a time-out of its own
            return
        record = Outgoing(self._topic, line_id.encode(), operation.to_json())
        try:
            with in_words():
                self._publisher.publish([record], timeout_s=PUBLISH_TIMEOUT_S)
        except BaseException as error:
            with self._lock:
                self._asked.pop(operation_id, None)
            asked.set_exception(error)
            raise
        asked.set_result(None)

    def await_outcome(self, operation_id: uuid.UUID) -> None:
        deadline_s = time.monotonic() + ANSWER_S
        while self._memory.outcome(operation_id) is None and time.monotonic() < deadline_s:
            time.sleep(0.05)
