"""Who did what, when and why: each effect as an entry of the audit log. Pure; the state gives the number."""

from collections.abc import Iterable

from pipeline.events import Alarm, AuditEntry, CommandReply, LineCommand
from workers.alerting.core.effects import Effect, Refusal, Takeover
from workers.alerting.core.lifecycle import ANDON
from workers.alerting.core.state import LineState


def record(state: LineState, events: Iterable[Effect]) -> tuple[LineState, tuple[AuditEntry, ...]]:
    entries = tuple(_entry(state, event, state.audited + 1 + number) for number, event in enumerate(events))
    return state.model_copy(update={"audited": state.audited + len(entries)}), entries


def _entry(state: LineState, event: Effect, number: int) -> AuditEntry:
    facts: dict[str, object]
    match event:
        case Alarm():
            facts = {
                "at": event.changed_at,
                "actor": event.actor,
                "act": event.act.value,
                "subject": f"alarm {event.kind}",
                "reason": event.reason,
                "alarm_id": event.alarm_id,
                "episode_id": event.episode_id,
                "operation_id": event.operation_id,
                "after": event.state.value,
                "traceparent": event.traceparent,
            }
        case LineCommand():
            facts = {
                "at": event.issued_at,
                "actor": ANDON,
                "act": event.action.value,
                "subject": "line",
                "reason": event.reason_code,
                "command_id": event.command_id,
                "episode_id": event.episode_id,
                "traceparent": event.traceparent,
            }
        case CommandReply():
            facts = {
                "at": event.observed_at,
                "actor": ANDON,
                "act": event.outcome.value,
                "subject": event.actuator,
                "reason": event.detail,
                "command_id": event.command_id,
                "episode_id": event.episode_id,
                "after": event.value_read_back,
                "traceparent": event.traceparent,
            }
        case Refusal():
            facts = {
                "at": event.at,
                "actor": event.operation.actor,
                "act": "refuse",
                "subject": event.operation.act.value,
                "reason": event.why,
                "operation_id": event.operation.operation_id,
                "alarm_id": event.operation.alarm_id,
            }
        case Takeover():
            facts = {
                "at": event.at,
                "actor": ANDON,
                "act": "takeover",
                "subject": "line",
                "reason": f"epoch {event.epoch} begins",
            }
    return AuditEntry.model_validate({"number": number, "line_id": state.line_id, "epoch": state.epoch, **facts})
