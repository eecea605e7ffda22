"""The spans of alerting: the decision that a score led to, and what became of its command at the PLC."""

from collections.abc import Iterable
from datetime import datetime

from pipeline.events import Alarm, CommandReply, LineCommand, Score
from pipeline.tracing import Attributes, Tracer
from workers.alerting.core.effects import Effect


def decision_spans(tracer: Tracer, score: Score, events: Iterable[Effect], begin: datetime, end: datetime) -> None:
    """begin: when the score was taken up. One span for each context that the decision made."""
    told: dict[str, dict[str, str]] = {}
    for event in events:
        if isinstance(event, Alarm | LineCommand) and event.traceparent:
            facts = told.setdefault(event.traceparent, {"line_id": score.line_id, "frame_id": score.frame_id})
            if isinstance(event, Alarm):
                facts |= {"alarm.kind": event.kind.value, "alarm.id": str(event.alarm_id), "reason": event.reason}
            else:
                facts |= {"action": event.action.value, "command.id": str(event.command_id)}
                facts |= {"candidate": event.candidate} if event.candidate else {}
    for traceparent, facts in told.items():
        # An alarm of before may speak again for a later frame; its span is told already.
        if traceparent[:35] == (score.traceparent or "")[:35]:
            tracer.span("decide", traceparent, score.traceparent, begin, end, facts)


def reply_spans(tracer: Tracer, command: LineCommand | None, events: Iterable[Effect]) -> None:
    """command: what the line was asked for when it answered."""
    for event in events:
        if isinstance(event, CommandReply) and command is not None and event.command_id == command.command_id:
            facts: Attributes = {
                "line_id": event.line_id,
                "action": event.action.value,
                "outcome": event.outcome.value,
                "actuator": event.actuator,
                "attempts": event.attempts,
                "read_back": event.value_read_back or "",
                "command.id": str(event.command_id),
                "capture_to_read_back_ms": (event.observed_at - event.captured_at).total_seconds() * 1000,
            }
            tracer.span("plc", event.traceparent, command.traceparent, event.issued_at, event.observed_at, facts)
