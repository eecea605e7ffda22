"""What can't be scored is kept whole, with why and where, so that nothing is lost and anyone can look."""

from importlib.metadata import version

from pipeline.events import DeadReason
from pipeline.kafka.records import Headers, Incoming, Outgoing

_PREFIX = "dead."


def dead_letter(record: Incoming, topic: str, reason: DeadReason, detail: str) -> Outgoing:
    """The original key, bytes and headers, plus `dead.*` headers. Headers of an earlier death are replaced."""
    kept = [(name, value) for name, value in record.headers if not name.startswith(_PREFIX)]
    added = {
        "reason": reason.value,
        "detail": detail[:2000],
        "topic": record.topic,
        "partition": str(record.partition),
        "offset": str(record.offset),
        "andon": version("andon"),
    }
    return Outgoing(
        topic, record.key, record.value, kept + [(_PREFIX + name, value.encode()) for name, value in added.items()]
    )


def cause_of_death(headers: Headers) -> dict[str, str]:
    """The `dead.*` headers as text: reason, detail, topic, partition, offset."""
    return {
        name.removeprefix(_PREFIX): value.decode(errors="replace")
        for name, value in headers
        if name.startswith(_PREFIX)
    }
