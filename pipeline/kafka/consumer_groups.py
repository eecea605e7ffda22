"""What a group has read, and who is in it."""

import time
from collections.abc import Callable
from typing import Any

from kafka import KafkaAdminClient
from kafka.errors import (
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    GroupIdNotFoundError,
    KafkaError,
    NotCoordinatorError,
)

from pipeline.kafka.admin import Admin
from pipeline.kafka.connection import KafkaUnavailableError
from pipeline.settings import Settings

_COORDINATOR_TIMEOUT_S = 10.0
_PASSES = (CoordinatorLoadInProgressError, CoordinatorNotAvailableError, NotCoordinatorError)


def committed_offsets(settings: Settings, group: str) -> dict[tuple[str, int], int]:
    """(topic, partition) → the next offset that the group will read. Raises KafkaUnavailableError."""
    with Admin(settings) as admin:
        return committed_by(admin, group)


def committed_by(admin: KafkaAdminClient, group: str) -> dict[tuple[str, int], int]:
    """The same, of a client that is open. Raises KafkaError."""
    found = _ask_of_group(lambda: admin.list_group_offsets(group)).get(group, {})
    return {(at.topic, at.partition): offset.offset for at, offset in found.items() if offset.offset >= 0}


def members(settings: Settings, group: str) -> int:
    """How many the group has now. Who was killed counts until its session is over. Raises KafkaUnavailableError."""
    with Admin(settings) as admin:
        found = _ask_of_group(lambda: _described(admin, group))
    if found["error"] and GroupIdNotFoundError.__name__ not in found["error"]:
        raise KafkaUnavailableError(f"Kafka does not tell who is in group {group!r}: {found['error']}")
    return len(found["members"])


def _described(admin: KafkaAdminClient, group: str) -> dict[str, Any]:
    """Raises what passes: the library raises no error of a group, and tells it in words."""
    (found,) = admin.describe_groups([group]).values()
    for error in _PASSES:
        if found["error"] and error.__name__ in found["error"]:
            raise error(found["error"])
    return dict(found)


def _ask_of_group(ask: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + _COORDINATOR_TIMEOUT_S
    while True:
        try:
            return ask()
        except KafkaError as error:
            # Just after its start a broker answers for its topics already, but not for its groups.
            if not error.retriable or time.monotonic() > deadline:
                raise
            time.sleep(0.2)
