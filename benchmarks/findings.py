"""What a section found, beside what it had hoped for."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class NotMeasuredError(Exception):
    """A section that can't be measured here; the message says why."""


class Relation(StrEnum):
    AT_LEAST = "≥"
    AT_MOST = "≤"
    WITHIN = "±"
    """The measured value lies between -limit and +limit."""


@dataclass(frozen=True)
class Goal:
    relation: Relation
    limit: float

    def met_by(self, value: float) -> bool:
        match self.relation:
            case Relation.AT_LEAST:
                return value >= self.limit
            case Relation.AT_MOST:
                return value <= self.limit
            case Relation.WITHIN:
                return abs(value) <= self.limit


@dataclass(frozen=True)
class Finding:
    name: str
    measured: float
    unit: str
    """Empty for a ratio."""
    goal: Goal | None
    """None for what is only told."""
    how: str
    """The medians behind the number, for a person."""
    raw: Mapping[str, Any]
    """Every repetition."""

    @property
    def met(self) -> bool | None:
        return self.goal.met_by(self.measured) if self.goal else None

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "measured": self.measured,
            "unit": self.unit,
            "goal": f"{self.goal.relation} {self.goal.limit:g}" if self.goal else None,
            "met": self.met,
            "how": self.how,
            "raw": dict(self.raw),
        }
