"""An act that is asked twice, as by a double click, is asked once, and both hear the truth about it."""

import threading
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest
from support.stream import settings_for

from pipeline.events import Act, now
from pipeline.kafka.publisher import PublishError
from pipeline.kafka.records import Outgoing
from workers.alerting.people.asking import NotAskedError
from workers.console.acts import Acts
from workers.console.identity import Identity
from workers.console.users import Role

pytestmark = pytest.mark.unit


class Slow:
    """A publisher amid its work, which the test ends: a real one could not be held between two clicks."""

    def __init__(self) -> None:
        self.sent: list[Outgoing] = []
        self.entered, self.go_on = threading.Event(), threading.Event()
        self.fault: PublishError | None = None

    def publish(self, records: Sequence[Outgoing], timeout_s: float) -> None:
        self.sent += records
        self.entered.set()
        assert self.go_on.wait(10)
        if self.fault:
            raise self.fault


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (None, "asked"),
        (
            PublishError("no broker answers", retriable=True),
            "Kafka did not take the request, so try again: no broker answers",
        ),
        (
            PublishError("no acknowledgement", retriable=True, may_come=True),
            "Kafka has not answered, and what you asked for may be done yet: look, and then try again: no "
            "acknowledgement",
        ),
    ],
    ids=["Kafka takes it", "Kafka does not", "nobody knows"],
)
def test_the_second_waits_for_what_becomes_of_the_first(fault: PublishError | None, told: str) -> None:
    """It was told that the act was asked, and waited for an outcome that could not come."""
    publisher, operation_id = Slow(), uuid.uuid4()
    publisher.fault = fault
    acts = Acts(settings_for("127.0.0.1:1", "t."), cast("Any", publisher), cast("Any", None))

    def ask() -> str:
        who = Identity("ada", Role.OPERATOR)
        try:
            acts.ask(who, "line-1", Act.RESET, operation_id=operation_id, reason="mended", shown_at=now())
        except NotAskedError as error:
            return str(error)
        return "asked"

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(ask)
        assert publisher.entered.wait(10)
        second = pool.submit(ask)
        with pytest.raises(TimeoutError):
            second.result(0.5)
        publisher.go_on.set()
        assert {first.result(10), second.result(10)} == {told}
    assert len(publisher.sent) == 1
