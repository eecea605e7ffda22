"""Builds the events that alerting publishes. Their ids follow from what happened, so a repeat has the same ones."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from pipeline.events import (
    Act,
    Action,
    Alarm,
    AlarmKind,
    AlarmState,
    Evidence,
    LineCommand,
    Operation,
    Score,
    alarm_id,
    command_id,
)

ANDON = "andon"
"""The actor of what no person did."""

UNHOLD_VALID = timedelta(days=1)
"""Long, since a late permission does no harm: it restarts nothing. A short one would strand a line on hold."""

Effect = Alarm | LineCommand


@dataclass(frozen=True)
class Trigger:
    """A limit that one score has made full."""

    kind: AlarmKind
    score: Score
    evidence: Evidence
    reason: str


def raise_alarm(trigger: Trigger, episode_id: str, now: datetime) -> Alarm:
    score = trigger.score
    return Alarm(
        alarm_id=alarm_id(score.line_id, episode_id, trigger.kind),
        episode_id=episode_id,
        kind=trigger.kind,
        line_id=score.line_id,
        camera_id=score.camera_id,
        state=AlarmState.UNACK_LATCHED,
        act=Act.RAISE,
        revision=1,
        actor=ANDON,
        reason=trigger.reason,
        changed_at=now,
        raised_at=now,
        captured_at=score.captured_at,
        evidence=trigger.evidence,
        score=score.score,
        threshold=score.threshold,
        model=score.model,
    )


def note(alarm: Alarm, reason: str, now: datetime, operation: Operation | None = None) -> Alarm:
    """Says something about an alarm without moving it."""
    return _next(alarm, Act.NOTE, alarm.state, reason, now, operation)


def acknowledge(alarm: Alarm, operation: Operation, now: datetime) -> Alarm:
    return _next(alarm, Act.ACKNOWLEDGE, AlarmState.ACK_LATCHED, operation.reason, now, operation)


def reset(alarm: Alarm, operation: Operation, now: datetime) -> Alarm:
    return _next(alarm, Act.RESET, AlarmState.NORMAL, operation.reason, now, operation)


def _next(alarm: Alarm, act: Act, state: AlarmState, reason: str, now: datetime, operation: Operation | None) -> Alarm:
    return alarm.model_copy(
        update={
            "state": state,
            "act": act,
            "revision": alarm.revision + 1,
            "actor": operation.actor if operation else ANDON,
            "operation_id": operation.operation_id if operation else None,
            "reason": reason,
            "changed_at": now,
        }
    )


def hold(trigger: Trigger, episode_id: str, now: datetime, max_age_s: float) -> LineCommand:
    score = trigger.score
    return LineCommand(
        command_id=command_id(score.line_id, episode_id, Action.HOLD),
        episode_id=episode_id,
        line_id=score.line_id,
        station_id=score.station_id,
        camera_id=score.camera_id,
        part_id=score.part_id,
        action=Action.HOLD,
        reason_code=trigger.kind.value,
        evidence=trigger.evidence,
        score=score.score,
        threshold=score.threshold,
        model=score.model,
        captured_at=score.captured_at,
        scored_at=score.scored_at,
        issued_at=now,
        expires_at=expiry(score, max_age_s),
        traceparent=score.traceparent,
    )


def permit_unhold(held: LineCommand, now: datetime) -> LineCommand:
    """Takes the hold of this episode back. Whether and when the line runs again is a person's act at the line."""
    return held.model_copy(
        update={
            "command_id": command_id(held.line_id, held.episode_id, Action.UNHOLD_PERMITTED),
            "action": Action.UNHOLD_PERMITTED,
            "reason_code": "reset",
            "issued_at": now,
            "expires_at": now + UNHOLD_VALID,
        }
    )


def expiry(score: Score, max_age_s: float) -> datetime:
    """Until when the line may be stopped for this frame."""
    return score.captured_at + timedelta(seconds=max_age_s)
