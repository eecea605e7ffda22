"""Times as the contracts hold them: UTC, in milliseconds."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, PlainSerializer, WithJsonSchema


def now() -> datetime:
    """UTC, cut to milliseconds, so that an event equals itself after a trip over the wire."""
    return from_ms(int(datetime.now(UTC).timestamp() * 1000))


def from_ms(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


def to_ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def _iso_ms(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _can_be_reckoned_with(moment: datetime) -> datetime:
    """At the ends of the calendar, adding a second or turning to UTC raises OverflowError."""
    if not 1 < moment.year < 9999:
        raise ValueError("no moment that can be reckoned with: give a year from 2 to 9998")
    return moment


Moment = Annotated[
    AwareDatetime,
    AfterValidator(_can_be_reckoned_with),
    PlainSerializer(_iso_ms, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}, mode="serialization"),
]
