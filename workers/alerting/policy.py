"""What each line tolerates, and what is done when it has had enough."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from pipeline.events import Name

MAX_WINDOW = 100
"""Bounds what a line's state can weigh."""


class Response(StrEnum):
    HOLD = "HOLD"
    """Latch an alarm and tell the line to hold."""
    ALARM_ONLY = "ALARM_ONLY"


class _Section(BaseModel):
    """A misspelt key is an error: it would otherwise leave a limit at a value that nobody chose."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class NotDecidableLimit(_Section):
    """How much blindness is too much: a camera that inspects nothing finds no defects either."""

    limit: int = Field(default=10, ge=1)
    of_last: int = Field(default=20, ge=1, le=MAX_WINDOW, description="frames")
    action: Response = Response.ALARM_ONLY

    @model_validator(mode="after")
    def _reachable(self) -> "NotDecidableLimit":
        if self.limit > self.of_last:
            raise ValueError(f"limit ({self.limit}) must be at most of_last ({self.of_last}), or it is never reached")
        return self


class LinePolicy(_Section):
    """k bad of the last n inspected parts, seen by one camera, are a burst."""

    k: int = Field(ge=1)
    n: int = Field(ge=1, le=MAX_WINDOW, description="inspected parts")
    action: Response
    """Without a default: whether Andon may stop a line is the plant's decision, never a silent one."""
    not_decidable: NotDecidableLimit = NotDecidableLimit()
    max_age_s: float = Field(default=10, gt=0, le=3600)
    """From capture to stop. Later than this the parts are gone, and a stop would hit innocent ones. The default
    outlasts one takeover (a dead worker is missed after 6 s), so a burst that falls into a takeover still stops."""

    @model_validator(mode="after")
    def _reachable(self) -> "LinePolicy":
        if self.k > self.n:
            raise ValueError(f"k ({self.k}) must be at most n ({self.n}), or it is never reached")
        return self


class Policies(_Section):
    """The policy file: `defaults` for every line, and per line only what differs."""

    defaults: LinePolicy
    lines: Mapping[Name, LinePolicy] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _fill_in_defaults(cls, content: Any) -> Any:
        if not isinstance(content, dict) or not isinstance(content.get("lines"), dict):
            return content
        defaults = content.get("defaults")
        return content | {"lines": {line: _merged(defaults, own) for line, own in content["lines"].items()}}

    def of(self, line_id: str) -> LinePolicy:
        return self.lines.get(line_id, self.defaults)


def _merged(base: Any, own: Any) -> Any:
    if own is None:
        return base
    if not isinstance(base, dict) or not isinstance(own, dict):
        return own
    return base | {key: _merged(base.get(key), value) for key, value in own.items()}
