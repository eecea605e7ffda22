"""Asks the worker that holds a line for an act on its alarms, and waits for what became of it."""

import getpass
import time
import uuid
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from pydantic import ValidationError

from pipeline.errors import AndonError
from pipeline.events import Act, Alarm, AuditEntry, ContractError, Operation, PersonsAct, now
from pipeline.kafka.publisher import Publisher, PublishError
from pipeline.kafka.reading import ends_of, read_on
from pipeline.kafka.records import Incoming, Outgoing
from pipeline.settings import Settings
from workers.alerting.core.operations import CLOCKS_MAY_DIFFER
from workers.alerting.recovery import StoredLine, fault_of, misplaced, read_stored

POLL_S = 0.2

_Event = TypeVar("_Event", Alarm, AuditEntry)


class NotAskedError(AndonError):
    """Nothing was asked, as far as is known. The message says why."""


@contextmanager
def in_words() -> Iterator[None]:
    """An Operation that can't be, or that Kafka did not take, is a NotAskedError."""
    try:
        yield
    except ValidationError as error:
        raise NotAskedError("; ".join(fault["msg"] for fault in error.errors(include_url=False))) from error
    except PublishError as error:
        told = "Kafka did not take the request, so try again"
        if error.may_come:
            told = "Kafka has not answered, and what you asked for may be done yet: look, and then try again"
        raise NotAskedError(f"{told}: {error}") from error


@dataclass(frozen=True)
class ActAnswer:
    changes: Sequence[Alarm]
    answered: bool
    """Whether all that was asked for was, in time."""
    untold: Sequence[AuditEntry] = ()
    """Refusals that no alarm tells of: somebody else's act has ended the last."""

    @property
    def refused(self) -> bool:
        return bool(self.untold) or any(alarm.act is Act.NOTE for alarm in self.changes)


def ask(
    settings: Settings,
    line_id: str,
    act: PersonsAct,
    *,
    actor: str,
    reason: str,
    alarm_id: uuid.UUID | None = None,
    kind: str | None = None,
    shelve_for_s: float | None = None,
    timeout_s: float = 10,
) -> ActAnswer:
    """Publishes an Operation: for the alarm of this id where one is given, and one for each alarm of this kind.
    `timeout_s`: for the answer; to read what stands on thousands of lines takes its own time before.

    Raises NotAskedError, KafkaUnavailableError, StateError.
    """
    found = read_stored(settings, timeout_s=timeout_s)
    stored = found.lines
    places = {name: line.partition for name, line in stored.items()}
    unheard = misplaced(places, settings.topics.line_state.partitions).get(line_id)
    if fault := unheard or fault_of(settings, found, line_id):
        raise fault
    line = stored.get(line_id)
    if line is None or not line.state.alarms:
        alarmed = sorted(name for name, other in stored.items() if other.state.alarms)
        raise NotAskedError(
            f"line {line_id!r} has no alarm; " + (f"these have: {', '.join(alarmed)}" if alarmed else "no line has one")
        )
    audit_log = settings.topics.audit_log.name
    audit_from = ends_of(settings, [audit_log])[audit_log, line.partition]
    with in_words():
        operations = [
            Operation(
                operation_id=uuid.uuid4(),
                line_id=line_id,
                act=act,
                alarm_id=meant,
                actor=actor,
                reason=reason,
                shelve_for_s=shelve_for_s,
                asked_at=_shown_at(line),
            )
            for meant in (_alarms_of(line, kind) if kind is not None else [alarm_id])
        ]
        _publish(settings, operations, timeout_s)
    deadline_s = time.monotonic() + timeout_s
    asked = {operation.operation_id for operation in operations}
    changes: list[Alarm] = []
    refusals: list[AuditEntry] = []
    untold: list[AuditEntry] = []
    for records in _events_since(settings, line, audit_from, deadline_s - time.monotonic()):
        changes += _answers(Alarm, settings.topics.alarms.name, records, asked)
        refusals += [entry for entry in _answers(AuditEntry, audit_log, records, asked) if entry.act == "refuse"]
        told = {alarm.operation_id for alarm in changes}
        untold = [entry for entry in refusals if entry.operation_id not in told]
        if asked == told | {entry.operation_id for entry in untold}:
            return ActAnswer(changes, answered=True, untold=untold)
    return ActAnswer(changes, answered=False, untold=untold)


def _shown_at(line: StoredLine) -> datetime:
    """By the clock that dated the alarms, where it is ahead of ours: what stood was seen. Never far ahead: an act that
    waits in Kafka must grow old."""
    at = now()
    return max((at, *(min(entry.alarm.changed_at, at + CLOCKS_MAY_DIFFER) for entry in line.state.alarms)))


def who(actor: str | None) -> str:
    """The name given, else that of the login. Raises NotAskedError where there is none."""
    if actor is None:
        try:
            actor = getpass.getuser()
        except (OSError, KeyError, ImportError):
            actor = ""
    if not actor.strip():
        raise NotAskedError("an act needs a name to it; say who you are with --actor")
    return actor.strip()


def _alarms_of(line: StoredLine, kind: str) -> list[uuid.UUID]:
    """Of kinds that speak of a camera there is one for each."""
    found = [entry.alarm.alarm_id for entry in line.state.alarms if entry.alarm.kind == kind]
    if not found:
        standing = ", ".join(sorted({entry.alarm.kind for entry in line.state.alarms}))
        raise NotAskedError(f"line {line.state.line_id!r} has no alarm {kind!r}; it has: {standing}")
    return found


def _publish(settings: Settings, operations: Sequence[Operation], timeout_s: float) -> None:
    publisher = Publisher(settings, "andon-operator")
    try:
        topic = settings.topics.operations.name
        publisher.publish(
            [Outgoing(topic, one.line_id.encode(), one.to_json()) for one in operations], timeout_s=timeout_s
        )
    finally:
        publisher.close(flush_timeout_s=1)


def _events_since(settings: Settings, line: StoredLine, audit_from: int, timeout_s: float) -> Iterator[list[Incoming]]:
    """The state tells from where on an answer can lie, so a long history of alarms is not read."""
    alarms, audit_log = settings.topics.alarms.name, settings.topics.audit_log.name
    start = {(alarms, line.partition): line.state.outbox.alarms_from, (audit_log, line.partition): audit_from}
    return read_on(
        settings, [alarms, audit_log], start, timeout_s=timeout_s, every_s=POLL_S, partitions=[line.partition]
    )


def _answers(
    contract: type[_Event], topic: str, records: Sequence[Incoming], asked: Collection[uuid.UUID]
) -> list[_Event]:
    answers = []
    for record in records:
        if record.topic == topic:
            with suppress(ContractError):  # what can't be read is no answer
                event = contract.from_json(record.value)
                if event.operation_id in asked:
                    answers.append(event)
    return answers
