"""What a line is asked to do, and what became of it."""

import uuid
from enum import StrEnum

from pydantic import Field

from pipeline.events.alarm import Evidence
from pipeline.events.contract import SCHEMA_VERSION, Contract, Name, Version
from pipeline.events.moments import Moment
from pipeline.events.score import ModelRef


class Action(StrEnum):
    """What a line shall do, in PackML's words. Each is a level that stays until taken back, never a pulse."""

    HOLD = "HOLD"
    """Stop throughput while a problem is resolved."""
    STOP = "STOP"
    """Stop; the machine needs its own reset before it can start."""
    REJECT = "REJECT"
    """Go on, but send every part to where the rejects go."""
    UNHOLD_PERMITTED = "UNHOLD_PERMITTED"
    """After a reset: Andon asks for nothing any more. It never restarts a line; a person does."""

    @property
    def stops(self) -> bool:
        """Whether the whole line is to stand."""
        return self in (Action.HOLD, Action.STOP)


class LineCommand(Contract):
    """What the line shall do. Idempotent by `command_id`; void after `expires_at`."""

    schema_version: Version = SCHEMA_VERSION
    command_id: uuid.UUID
    """UUIDv5 of what is asked in which episode: equal ids are one command, however often it is sent."""
    episode_id: str
    """As of the alarms that led to it."""
    epoch: int = Field(default=0, ge=0)
    """Of the worker that decided it. Each takeover of a line counts it up; a lower one than seen before is void."""
    line_id: Name
    station_id: Name
    camera_id: Name
    part_id: str
    """Of the frame that completed the evidence."""
    action: Action
    """What the line is to do, until it is taken back."""
    reason_code: str
    """The kind of the alarm that asked for it, or `reset`."""
    evidence: Evidence
    """As of the alarm."""
    score: float | None
    """Of the frame that completed the evidence."""
    threshold: float | None
    """That this frame was judged by."""
    model: ModelRef | None
    """Which model judged it."""
    captured_at: Moment
    """Of that frame."""
    scored_at: Moment
    """Of that frame."""
    issued_at: Moment
    """When alerting decided it."""
    expires_at: Moment
    """After this nobody may act on it: the parts are gone."""
    simulated: bool = False
    """What would have been asked for: by a line in shadow mode, or by a candidate. Nobody may act on it."""
    candidate: str | None = None
    """Which candidate judged, where it was not the live verdict: a threshold's name, or `shadow:` and the bundle's."""
    traceparent: str | None = None
    """W3C trace context, of the decision."""


class Outcome(StrEnum):
    ACCEPTED = "accepted"
    """Read back from the line."""
    REJECTED = "rejected"
    """The line answered, and stands otherwise than asked."""
    EXPIRED = "expired"
    """Not confirmed before the command was void. It is not sent any more."""
    DUPLICATE = "duplicate"
    """It was proved before, and the line stood like that already, or `detail` says that it was written again."""


class CommandReply(Contract):
    """What became of a command, with the value read back from the line."""

    schema_version: Version = SCHEMA_VERSION
    command_id: uuid.UUID
    """The command that is answered."""
    episode_id: str
    """The command's."""
    epoch: int = Field(ge=0)
    """Of the worker that wrote to the PLC."""
    line_id: Name
    action: Action
    """What was asked."""
    outcome: Outcome
    """What became of it."""
    actuator: str
    """The protocol and the address, without secrets."""
    value_read_back: str | None
    """The signals as they were read at the line, `name=value`, apart by spaces; null where nothing was read."""
    attempts: int = Field(ge=0)
    """Exchanges with the PLC until the answer."""
    captured_at: Moment
    """Of the frame that the command is about: `observed_at` minus this is the whole way, from capture to coil."""
    issued_at: Moment
    """When alerting decided the command."""
    observed_at: Moment
    """When the answer of the line was read, or given up."""
    detail: str = ""
    """Why, where it was not accepted."""
    traceparent: str | None = None
    """W3C trace context, of the exchange with the PLC."""
