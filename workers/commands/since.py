"""`--since`: how people name the moment from which on they want to look."""

import re
from datetime import UTC, datetime, timedelta

import typer

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_AGO = re.compile(r"(\d+)([smhd])")

HELP = "From then on: 90s, 15m, 8h, 2d ago, or a time such as 2026-11-22T06:00 (UTC where no zone is given)."


def moment(text: str) -> datetime:
    """Raises typer.BadParameter for what is neither an age nor an ISO 8601 time that has been."""
    if ago := _AGO.fullmatch(text):
        try:
            return datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        except OverflowError as error:
            raise typer.BadParameter(f"{text!r} is longer ago than time itself", param_hint="--since") from error
    try:
        named = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is neither an age such as 15m nor a time", param_hint="--since") from error
    named = named if named.tzinfo else named.replace(tzinfo=UTC)
    if named.year < 2000:  # and what is looked for a little earlier must be a time, too
        raise typer.BadParameter(f"{text!r} is before any record", param_hint="--since")
    if named > (at := datetime.now(UTC)):  # a local time without its zone, as a rule; of it there is nothing to tell
        raise typer.BadParameter(f"{text!r} is still to come: it is {at:%Y-%m-%dT%H:%M} UTC", param_hint="--since")
    return named
