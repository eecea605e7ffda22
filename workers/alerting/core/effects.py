"""Builds the events that alerting publishes. Their ids follow from what happened, so a repeat has the same ones."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from pipeline.events import (
    Act,
    Action,
    Alarm,
    AlarmKind,
    AlarmState,
    CommandReply,
    Evidence,
    LineCommand,
    Operation,
    Score,
    alarm_id,
    command_id,
)
from pipeline.tracing import child
from workers.alerting.core.lifecycle import ANDON, Life
from workers.alerting.core.state import LineState, shown

RELEASE_VALID = timedelta(days=1)
"""Long, since a late permission does no harm: it restarts nothing. A short one would strand a line on hold."""

NO_EVIDENCE = Evidence(k=0, n=0, bad_parts=(), frame_ids=())


@dataclass(frozen=True)
class Refusal:
    """An act that was asked for and not done. Goes to the audit log; where an alarm stands, a NOTE on it tells too."""

    operation: Operation
    why: str
    at: datetime


@dataclass(frozen=True)
class Takeover:
    """A worker took the line over."""

    line_id: str
    epoch: int
    at: datetime


Effect = Alarm | LineCommand | CommandReply | Refusal | Takeover


@dataclass(frozen=True)
class Trigger:
    """A limit that one score has made full."""

    kind: AlarmKind
    score: Score
    evidence: Evidence
    reason: str


def raised_by(trigger: Trigger, episode_id: str, now: datetime, *, number: int, latching: bool, first: bool) -> Alarm:
    score = trigger.score
    return Alarm(
        alarm_id=alarm_id(score.line_id, episode_id, trigger.kind, number),
        episode_id=episode_id,
        kind=trigger.kind,
        line_id=score.line_id,
        camera_id=score.camera_id,
        state=AlarmState.UNACK_ACTIVE,
        latching=latching,
        first=first,
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
        traceparent=child(score.traceparent, "decide"),
    )


def condition(
    state: LineState, kind: AlarmKind, camera_id: str, reason: str, now: datetime, captured_at: datetime | None = None
) -> Alarm:
    """An alarm of what no single score shows. It belongs to no episode, and ends when its cause does."""
    group = f"{state.line_id}:{kind}:{state.raised}"
    return Alarm(
        alarm_id=alarm_id(state.line_id, group, kind, state.raised),
        episode_id=group,
        kind=kind,
        line_id=state.line_id,
        camera_id=camera_id,
        state=AlarmState.UNACK_ACTIVE,
        latching=False,
        act=Act.RAISE,
        revision=1,
        actor=ANDON,
        reason=reason,
        changed_at=now,
        raised_at=now,
        captured_at=captured_at or now,
        evidence=NO_EVIDENCE,
        score=None,
        threshold=None,
        model=None,
    )


def changed(
    alarm: Alarm, act: Act, life: Life, now: datetime, *, actor: str, reason: str, operation: Operation | None = None
) -> Alarm:
    """The next revision of an alarm."""
    return alarm.model_copy(
        update={
            **shown(life),
            "shelved_until": life.shelved_until,
            "act": act,
            "revision": alarm.revision + 1,
            "actor": actor,
            "operation_id": operation.operation_id if operation else None,
            "reason": reason,
            "changed_at": now,
        }
    )


def command(
    trigger: Trigger,
    episode_id: str,
    action: Action,
    now: datetime,
    *,
    epoch: int,
    max_age_s: float,
    candidate: str | None = None,
    simulated: bool = False,
    given_up: int = 0,
) -> LineCommand:
    """given_up: so many commands of this episode expired before the line confirmed them."""
    score = trigger.score
    return LineCommand(
        command_id=command_id(score.line_id, episode_id, action, candidate, given_up),
        episode_id=episode_id,
        epoch=epoch,
        line_id=score.line_id,
        station_id=score.station_id,
        camera_id=score.camera_id,
        part_id=score.part_id,
        action=action,
        reason_code=trigger.kind.value,
        evidence=trigger.evidence,
        score=score.score,
        threshold=score.threshold,
        model=score.model,
        captured_at=score.captured_at,
        scored_at=score.scored_at,
        issued_at=now,
        expires_at=expiry(score, max_age_s, now),
        simulated=simulated,
        candidate=candidate,
        traceparent=child(score.traceparent, f"decide {candidate}" if candidate else "decide"),
    )


def release(held: LineCommand, epoch: int, now: datetime) -> LineCommand:
    """Takes the command of this episode back. Whether and when the line runs again is a person's act at the line."""
    return held.model_copy(
        update={
            "command_id": command_id(held.line_id, held.episode_id, Action.UNHOLD_PERMITTED),
            "epoch": epoch,
            "action": Action.UNHOLD_PERMITTED,
            "reason_code": "reset",
            "issued_at": now,
            "expires_at": now + RELEASE_VALID,
            "traceparent": child(held.traceparent, "release"),
        }
    )


def expiry(score: Score, max_age_s: float, now: datetime) -> datetime:
    """Until when the line may be stopped for this frame. No frame is captured after it was scored, nor scored after
    that was read, so a clock that is ahead makes no stop valid for longer."""
    return min(score.captured_at, score.scored_at, now) + timedelta(seconds=max_age_s)
