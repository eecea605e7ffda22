"""What a person asks of a line's alarms. The page publishes it; the alerting worker decides."""

from __future__ import annotations

import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime
from typing import Literal

from pydantic import ValidationError

from pipeline.errors import AndonError
from pipeline.events import Act, Operation
from pipeline.kafka.publisher import Publisher, PublishError
from pipeline.kafka.records import Outgoing
from pipeline.settings import Settings
from workers.console.identity import Identity
from workers.console.memory import Memory, Outcome

PersonsAct = Literal[Act.ACKNOWLEDGE, Act.RESET, Act.SHELVE, Act.UNSHELVE]
PERSONS_ACTS: dict[str, PersonsAct] = {
    "acknowledge": Act.ACKNOWLEDGE,
    "reset": Act.RESET,
    "shelve": Act.SHELVE,
    "unshelve": Act.UNSHELVE,
}
PUBLISH_TIMEOUT_S = 10.0
ANSWER_S = 4.0
"""So long an act waits for its outcome before the page goes on without it."""
_REMEMBERED = 2000


class ActError(AndonError):
    """Nothing was asked. The message says why."""


class Acts:
    """Thread-safe."""

    def __init__(self, settings: Settings, publisher: Publisher, memory: Memory) -> None:
        self._topic = settings.topics.operations.name
        self._publisher = publisher
        self._memory = memory
        self._lock = threading.Lock()
        self._asked: OrderedDict[uuid.UUID, None] = OrderedDict()

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
        asked once. Raises ActError."""
        if not reason.strip():
            raise ActError("say why: the reason is kept with the alarm")
        try:
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
        except ValidationError as error:
            raise ActError("; ".join(fault["msg"] for fault in error.errors(include_url=False))) from error
        with self._lock:
            if operation_id in self._asked:
                return
            self._asked[operation_id] = None
            while len(self._asked) > _REMEMBERED:
                self._asked.popitem(last=False)
        try:
            self._publisher.publish(
                [Outgoing(self._topic, line_id.encode(), operation.to_json())], timeout_s=PUBLISH_TIMEOUT_S
            )
        except PublishError as error:
            with self._lock:
                self._asked.pop(operation_id, None)
            raise ActError(f"Kafka did not take the request, so try again: {error}") from error

    def await_outcome(
        self, operation_id: uuid.UUID, timeout_s: float = ANSWER_S, sleep: Callable[[float], None] = time.sleep
    ) -> Outcome | None:
        deadline_s = time.monotonic() + timeout_s
        while (found := self._memory.outcome(operation_id)) is None and time.monotonic() < deadline_s:
            sleep(0.05)
        return found
