"""The wire contracts. Frozen and versioned: a subscriber in any language needs these and no more.

A `Frame` travels as Kafka headers beside the image bytes (see `Frame.to_headers`); every other event is JSON.
Times are UTC with millisecond precision; a name ends in its unit.
"""

from pipeline.events.alarm import Act, Alarm, AlarmKind, AlarmState, Evidence
from pipeline.events.audit import AuditEntry
from pipeline.events.command import Action, CommandReply, LineCommand, Outcome
from pipeline.events.contract import MAX_SEQUENCE, NAME, SCHEMA_VERSION, Contract, ContractError, Name
from pipeline.events.frame import CHECK, DeadReason, Frame
from pipeline.events.heartbeat import BootEnd, Heartbeat
from pipeline.events.ids import alarm_id, command_id
from pipeline.events.moments import Moment, from_ms, now, to_ms
from pipeline.events.operation import Operation, PersonsAct
from pipeline.events.score import MAX_LABEL, Doubt, KafkaPosition, ModelRef, Score, ShadowScore, ShadowSkip, Verdict

__all__ = [
    "CHECK",
    "EVENTS",
    "MAX_LABEL",
    "MAX_SEQUENCE",
    "NAME",
    "SCHEMA_VERSION",
    "Act",
    "Action",
    "Alarm",
    "AlarmKind",
    "AlarmState",
    "AuditEntry",
    "BootEnd",
    "CommandReply",
    "ContractError",
    "DeadReason",
    "Doubt",
    "Evidence",
    "Frame",
    "Heartbeat",
    "KafkaPosition",
    "LineCommand",
    "ModelRef",
    "Moment",
    "Name",
    "Operation",
    "Outcome",
    "PersonsAct",
    "Score",
    "ShadowScore",
    "ShadowSkip",
    "Verdict",
    "alarm_id",
    "command_id",
    "from_ms",
    "now",
    "to_ms",
]

EVENTS: tuple[type[Contract], ...] = (
    Frame,
    Score,
    Alarm,
    LineCommand,
    CommandReply,
    Operation,
    AuditEntry,
    Heartbeat,
)
