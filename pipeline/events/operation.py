"""What a person asks for."""

import uuid
from typing import Literal, Self

from pydantic import Field, model_validator

from pipeline.events.alarm import Act
from pipeline.events.contract import SCHEMA_VERSION, Contract, Name, Version
from pipeline.events.moments import Moment

PersonsAct = Literal[Act.ACKNOWLEDGE, Act.RESET, Act.SHELVE, Act.UNSHELVE]


class Operation(Contract):
    """An act that a person asks for. The alerting worker that holds the line carries it out."""

    schema_version: Version = SCHEMA_VERSION
    operation_id: uuid.UUID
    """Of this request: what it changed, or why it was refused, carries it."""
    line_id: Name
    act: PersonsAct
    """What is asked for."""
    alarm_id: uuid.UUID | None = None
    """Only this alarm; by default all of the line that the act can move."""
    actor: str = Field(min_length=1, max_length=128, pattern=r"\S")
    """Who asks, as the caller says it."""
    role: str | None = Field(default=None, max_length=64)
    """As what the actor asked, where it was checked: the operator page knows, a command line does not."""
    reason: str = Field(default="", max_length=1000)
    """Why."""
    shelve_for_s: float | None = Field(default=None, gt=0, le=24 * 3600)
    """With `shelve`, which wants a reason too."""
    asked_at: Moment
    """By the clock of who asked. A reset that is older than 5 minutes is refused."""

    @model_validator(mode="after")
    def _shelving_is_bounded(self) -> Self:
        if self.act is Act.SHELVE and (self.shelve_for_s is None or not self.reason.strip()):
            raise ValueError("to shelve needs a reason and shelve_for_s, at most a day")
        return self
