"""What can't be scored is kept, with why and where, so that nothing is lost and anyone can look."""

from importlib.metadata import version

from pipeline.events import DeadReason
from pipeline.kafka.records import Headers, Incoming, Outgoing
from pipeline.topics import MAX_FRAME_RECORD_BYTES

_PREFIX = "dead."
_KEPT_BYTES = MAX_FRAME_RECORD_BYTES
"""Of key, headers and value together: a record that was not compressed fits whole, and leaves room for `dead.*`."""
_HEADERS_BYTES = 64 * 1024
"""That headers may take however long the value is: a frame's own are one kilobyte."""
_HEADER_OVERHEAD_BYTES = 10
"""The most that Kafka writes around a header: two lengths."""


def dead_letter(record: Incoming, topic: str, reason: DeadReason, detail: str) -> Outgoing:
    """The original key, headers and bytes, plus `dead.*` headers. Headers of an earlier death are replaced.

    The broker measures a record as it was compressed, so one may hold far more than the topic of dead letters takes.
    It is cut then: `dead.truncated` names what of it, `dead.bytes` how long its value was.
    """
    original = [(name, value) for name, value in record.headers if not name.startswith(_PREFIX)]
    key = record.key and record.key[:_KEPT_BYTES]
    left = _KEPT_BYTES - len(key or b"")
    room = min(left, max(left - len(record.value or b""), _HEADERS_BYTES))
    kept = []
    for name, content in original:
        size = len(name.encode()) + len(content or b"") + _HEADER_OVERHEAD_BYTES
        if size <= room:
            kept.append((name, content))
            left, room = left - size, room - size
    value = record.value and record.value[:left]
    if key is None and value is None:
        value = b""  # the client library sends no record without both
    parts = {"key": (record.key, key), "headers": (original, kept), "value": (record.value or b"", value or b"")}
    truncated = [name for name, (before, after) in parts.items() if before != after]
    added = {
        "reason": reason.value,
        "detail": detail,
        "topic": record.topic,
        "partition": str(record.partition),
        "offset": str(record.offset),
        "andon": version("andon"),
    }
    if truncated:
        added |= {"truncated": ", ".join(truncated), "bytes": str(len(record.value or b""))}
    return Outgoing(topic, key, value, kept + [(_PREFIX + name, text.encode()) for name, text in added.items()])


def cause_of_death(headers: Headers) -> dict[str, str]:
    """The `dead.*` headers as text: reason, detail, topic, partition, offset."""
    return {
        name.removeprefix(_PREFIX): value.decode(errors="replace")
        for name, value in headers
        if name.startswith(_PREFIX)
    }
