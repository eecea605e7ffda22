"""Reads the audit log: who did what, when and why."""

import re
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from rich.text import Text

from pipeline.errors import AndonError
from pipeline.events import AuditEntry, ContractError, now
from pipeline.kafka.partitioning import partition_of
from pipeline.kafka.reading import read_to_end
from pipeline.settings import Settings
from workers.alerting.display import printable

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class SinceError(AndonError):
    """A point in time that can't be understood."""


def parse_since(text: str | None) -> datetime | None:
    """`90m`, `12h`, `7d` ago, or a date and time, UTC where no zone is named. Raises SinceError."""
    if text is None:
        return None
    span = re.fullmatch(r"(\d{1,6})([smhd])", text)
    if span:
        return now() - timedelta(seconds=int(span[1]) * _UNITS[span[2]])
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise SinceError(
            f"--since {text}: give a span such as 90m, 12h or 7d, or a time such as 2026-11-22T06:00"
        ) from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def read_log(settings: Settings, line_id: str | None, since: datetime | None) -> list[AuditEntry]:
    """In order of time; within a line by number, each entry once. Raises KafkaUnavailableError."""
    topic = settings.topics.audit_log
    partitions = None if line_id is None else [partition_of(line_id.encode(), topic.partitions)]
    found: dict[tuple[str, int], AuditEntry] = {}
    for record in read_to_end(settings, [topic.name], partitions=partitions):
        with suppress(ContractError):
            entry = AuditEntry.from_json(record.value)
            if line_id in (None, entry.line_id) and (since is None or entry.at >= since):
                # A successor sends again what its predecessor may not have got out.
                found.setdefault((entry.line_id, entry.number), entry)
    return sorted(found.values(), key=lambda entry: (entry.at, entry.line_id, entry.number))


def gaps(entries: Sequence[AuditEntry]) -> list[str]:
    """What is missing between the first and the last entry of each line."""
    numbers: dict[str, list[int]] = {}
    for entry in entries:
        numbers.setdefault(entry.line_id, []).append(entry.number)
    told = []
    for line_id, own in sorted(numbers.items()):
        missing = sorted(set(range(min(own), max(own) + 1)) - set(own))
        if missing:
            told.append(f"line {line_id}: entries {', '.join(map(str, missing[:20]))} are missing")
    return told


def entry_line(entry: AuditEntry) -> Text:
    after = f" → {entry.after}" if entry.after else ""
    reason = f": {entry.reason}" if entry.reason else ""
    said = f"{entry.act} {entry.subject}{after} by {entry.actor}{reason}"
    return Text(f"{entry.at:%Y-%m-%d %H:%M:%S} UTC  {entry.line_id} #{entry.number}  {printable(said)}")
