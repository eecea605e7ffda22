"""Which contract each topic of events keeps."""

from pipeline.events import Alarm, AuditEntry, CommandReply, ContractError, Heartbeat, LineCommand, Operation, Score

Event = Alarm | AuditEntry | CommandReply | Heartbeat | LineCommand | Operation | Score

CONTRACTS: dict[str, type[Event]] = {
    "alarms": Alarm,
    "scores": Score,
    "line-commands": LineCommand,
    "command-replies": CommandReply,
    "shadow-commands": LineCommand,
    "audit-log": AuditEntry,
    "heartbeats": Heartbeat,
    "operations": Operation,
}


def read_event(stream: str, value: bytes | None) -> Event | str:
    """The event, or why it is none."""
    try:
        return CONTRACTS[stream].from_json(value)
    except ContractError as error:
        return str(error)
