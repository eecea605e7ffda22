"""Reads the audit log: who did what, when and why."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta

from rich.text import Text

from pipeline.events import AuditEntry, ContractError
from pipeline.kafka.partitioning import partition_of
from pipeline.kafka.reading import places_at, read_to_end
from pipeline.settings import Settings
from workers.printable import printable

DATED_APART = timedelta(hours=1)
"""Entries and commands are dated by their worker's clock, and found by the broker's."""


def read_log(settings: Settings, line_id: str | None, since: datetime | None) -> list[AuditEntry]:
    """In order of time, each entry once. Raises KafkaUnavailableError.

    `since`: from the first entry of a line that is so new, everything that follows it in the topic. A reply is numbered
    after what was decided while it was on its way, and dated before; it is not to look as if it were missing. What
    came to Kafka before is not read, since the log is kept for ever.
    """
    topic = settings.topics.audit_log
    start = places_at(settings, [topic.name], since - DATED_APART) if since else None
    partitions = None if line_id is None else [partition_of(line_id.encode(), topic.partitions)]
    found: dict[AuditEntry, None] = {}
    begun: set[str] = set()
    for record in read_to_end(settings, [topic.name], start=start, partitions=partitions):
        with suppress(ContractError):
            entry = AuditEntry.from_json(record.value)
            if since is None or entry.at >= since:
                begun.add(entry.line_id)
            if line_id in (None, entry.line_id) and entry.line_id in begun:
                # A successor sends again what its predecessor may not have got out. What only has the same number is
                # another entry.
                found[entry] = None
    return sorted(found, key=lambda entry: (entry.at, entry.line_id, entry.number))


def gaps(entries: Sequence[AuditEntry]) -> list[str]:
    """What is missing between the first and the last entry of each line, and what stands there more than once."""
    lines: dict[str, Counter[int]] = defaultdict(Counter)
    for entry in entries:
        lines[entry.line_id][entry.number] += 1
    told = []
    for line_id, numbers in sorted(lines.items()):
        missing = [number for number in range(min(numbers), max(numbers)) if number not in numbers]
        if missing:
            told.append(f"line {line_id}: entries {', '.join(map(str, missing[:20]))} are missing")
        twice = [number for number in sorted(numbers) if numbers[number] > 1]
        if twice:
            told.append(
                f"line {line_id}: entries {', '.join(map(str, twice[:20]))} stand there twice, with other content: "
                "`line-state` was made anew, or a worker wrote that had lost the line"
            )
    return told


def entry_line(entry: AuditEntry) -> Text:
    after = f" → {entry.after}" if entry.after else ""
    reason = f": {entry.reason}" if entry.reason else ""
    said = f"{entry.act} {entry.subject}{after} by {entry.actor}{reason}"
    return Text(f"{entry.at:%Y-%m-%d %H:%M:%S} UTC  {entry.line_id} #{entry.number}  {printable(said)}")
