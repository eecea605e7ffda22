"""When a window of evidence is full, and what that means. Pure; goes by the time of capture, so a replay agrees."""

from datetime import datetime, timedelta

from pipeline.events import AlarmKind, Score, Verdict
from workers.alerting.core import effects
from workers.alerting.core.effects import Trigger
from workers.alerting.core.state import Camera, LineState
from workers.alerting.core.window import count_bad, evidence
from workers.alerting.policy import LinePolicy

AGREE_WITHIN = timedelta(seconds=60)
"""Cameras whose last frame is older see nothing now, and have no say in whether many agree."""


def mark_full(camera: Camera, score: Score, policy: LinePolicy) -> Camera:
    """Remembers since when each window is full."""
    parts = count_bad(camera.parts) >= policy.k
    frames = count_bad(camera.frames) >= policy.not_decidable.limit
    return camera.model_copy(
        update={
            "parts_full_since": earlier(camera.parts_full_since, score.captured_at) if parts else None,
            "frames_full_since": earlier(camera.frames_full_since, score.captured_at) if frames else None,
        }
    )


def earlier(since: datetime | None, captured_at: datetime) -> datetime:
    """When a delay began. One that lies ahead is of a clock that was set back since: the delay begins anew, or it would
    not be over before that clock has caught up."""
    return captured_at if since is None else min(since, captured_at)


def trigger(state: LineState, camera: Camera, score: Score, policy: LinePolicy, now: datetime) -> Trigger | None:
    """Only the frame that is itself bad can make a limit full."""
    if score.verdict is Verdict.NOT_OK and _lasts(camera.parts_full_since, score, policy):
        proof = evidence(camera.parts, policy.n)
        reason = f"{proof.k} of the last {policy.n} parts NOT_OK at camera {score.camera_id}"
        # Once the line is alarmed for defects, what comes late adds to that alarm and is no news of its own.
        if is_late(score, policy, now) and state.standing(AlarmKind.DEFECTS) is None:
            reason += f"; known only {policy.max_age_s:g} s or more after capture, so the line is not stopped"
            return Trigger(AlarmKind.LATE, score, proof, reason)
        return Trigger(AlarmKind.DEFECTS, score, proof, reason)
    if score.verdict is Verdict.NOT_DECIDABLE and _lasts(camera.frames_full_since, score, policy):
        limit = policy.not_decidable
        proof = evidence(camera.frames, limit.of_last)
        doubts = ", ".join(score.doubts) or "no reason given"
        reason = f"{proof.k} of the last {limit.of_last} frames not inspected at camera {score.camera_id} ({doubts})"
        return Trigger(AlarmKind.NOT_INSPECTED, score, proof, reason)
    return None


def is_late(score: Score, policy: LinePolicy, now: datetime) -> bool:
    return now > effects.expiry(score, policy.max_age_s, now)


def late_since(before: Camera, score: Score, policy: LinePolicy, now: datetime) -> datetime | None:
    """Since when the frames of a camera come too late, counted from the last that did not. A triggered camera may have
    had no parts since that one, so there it is counted from the first that did."""
    if not is_late(score, policy, now):
        return None
    return before.late_since or (min(score.scored_at, now) if policy.triggered else before.heard_at)


def still_full(state: LineState, kind: AlarmKind) -> bool | None:
    """Whether a camera still sees what this alarm is about; None for alarms that no window is behind."""
    cameras = state.cameras.values()
    if kind in (AlarmKind.DEFECTS, AlarmKind.LATE):
        return any(camera.parts_full_since is not None for camera in cameras)
    if kind is AlarmKind.NOT_INSPECTED:
        return any(camera.frames_full_since is not None for camera in cameras)
    return None


def agreeing(state: LineState, score: Score, policy: LinePolicy) -> tuple[str, ...] | None:
    """The cameras that are full at once, where they are so many that one cause is more likely than so many defects."""
    seeing = {
        name: camera
        for name, camera in state.cameras.items()
        if abs(score.captured_at - camera.captured_at) <= AGREE_WITHIN
    }
    full = tuple(sorted(name for name, camera in seeing.items() if camera.parts_full_since or camera.frames_full_since))
    rule = policy.common_cause
    return full if len(full) >= max(rule.cameras, rule.share * len(seeing)) else None


def _lasts(since: datetime | None, score: Score, policy: LinePolicy) -> bool:
    return since is not None and (score.captured_at - since).total_seconds() >= policy.on_delay_s
