"""What was done at a line, entry by entry."""

import uuid

from pydantic import Field

from pipeline.events.contract import SCHEMA_VERSION, Contract, Name, Version
from pipeline.events.moments import Moment


class AuditEntry(Contract):
    """Who did what, when and why. Entries are only ever added; `number` counts them per line without a gap."""

    schema_version: Version = SCHEMA_VERSION
    number: int = Field(ge=1)
    """Counts the entries of the line from 1."""
    line_id: Name
    at: Moment
    """When it was done."""
    actor: str
    """'andon' or a person."""
    act: str
    """What was done: an act of an alarm, an action of a command, an outcome of a reply, `takeover`, `refuse`."""
    subject: str
    """To what: the kind of alarm, `line`, or the actuator."""
    reason: str
    """Why."""
    epoch: int = Field(ge=0)
    """Of the worker that wrote the entry."""
    episode_id: str | None = None
    """The episode, where it belongs to one."""
    alarm_id: uuid.UUID | None = None
    """The alarm, where it is about one."""
    command_id: uuid.UUID | None = None
    """The command, where it is about one."""
    operation_id: uuid.UUID | None = None
    """The request of a person, where one asked for it."""
    after: str | None = None
    """The state of the alarm, or the value read back from the line, after the act."""
    traceparent: str | None = None
    """Of the alarm, the command or the reply."""
