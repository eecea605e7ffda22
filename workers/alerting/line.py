"""The pure core: one line's state, one record, and what follows from it. No clock, no Kafka."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from pipeline.events import AlarmKind, Operation, Score, Verdict
from workers.alerting import effects
from workers.alerting.effects import Effect, Trigger
from workers.alerting.operations import carry_out
from workers.alerting.policy import LinePolicy, Response
from workers.alerting.state import Camera, Episode, Latched, LineState
from workers.alerting.window import add_frame, add_part, count_bad, evidence


class Skip(StrEnum):
    """Why a record counted for nothing."""

    REPLAYED = "replayed"
    """The state already stands for this offset."""
    DUPLICATE = "duplicate"
    """The same frame was scored twice."""


@dataclass(frozen=True)
class Stepped:
    state: LineState
    effects: tuple[Effect, ...] = ()
    skipped: Skip | None = None


def step(state: LineState, event: Score | Operation, offset: int, policy: LinePolicy, now: datetime) -> Stepped:
    """Applies the record at `offset` of its topic.

    A record that was applied before changes nothing, so any stretch of a topic may be read again.
    """
    if isinstance(event, Operation):
        return _operate(state, event, offset, now)
    return _judge(state, event, offset, policy, now)


def _operate(state: LineState, operation: Operation, offset: int, now: datetime) -> Stepped:
    if offset <= state.applied.operations:
        return Stepped(state, skipped=Skip.REPLAYED)
    after, events = carry_out(state, operation, now)
    return Stepped(_applied(after, operations=offset), events)


def _judge(state: LineState, score: Score, offset: int, policy: LinePolicy, now: datetime) -> Stepped:
    camera = state.cameras.get(score.camera_id, Camera(captured_at=score.captured_at))
    counted_to = camera.counted_to(score.boot_id)
    if counted_to is None and offset <= state.applied.scores:
        return Stepped(state, skipped=Skip.REPLAYED)
    if counted_to is not None and score.sequence <= counted_to:
        if offset <= state.applied.scores:
            return Stepped(state, skipped=Skip.REPLAYED)
        return Stepped(_applied(state, scores=offset), skipped=Skip.DUPLICATE)
    # A frame that is news although its offset is not: the topic was made anew. Its offsets are the ones to go by.
    camera = camera.heard(score).model_copy(
        update={
            "parts": add_part(camera.parts, score, policy.n),
            "frames": add_frame(camera.frames, score, policy.not_decidable.of_last),
        }
    )
    state = _applied(state.with_camera(score.camera_id, camera), scores=offset)
    late = now > effects.expiry(score, policy.max_age_s)
    trigger = _trigger(state, camera, score, policy, late)
    if trigger is None:
        return Stepped(state)
    wanted = policy.not_decidable.action if trigger.kind is AlarmKind.NOT_INSPECTED else policy.action
    return _respond(state, trigger, now, hold=wanted is Response.HOLD and not late, max_age_s=policy.max_age_s)


def _trigger(state: LineState, camera: Camera, score: Score, policy: LinePolicy, late: bool) -> Trigger | None:
    """Only the frame that is itself bad can make a limit full."""
    if score.verdict is Verdict.NOT_OK and count_bad(camera.parts) >= policy.k:
        proof = evidence(camera.parts, policy.n)
        reason = f"{proof.k} of the last {policy.n} parts NOT_OK at camera {score.camera_id}"
        # Once the line is alarmed for defects, what comes late adds to that alarm and is no news of its own.
        if late and state.latched_as(AlarmKind.DEFECTS) is None:
            reason += f"; known only {policy.max_age_s:g} s or more after capture, so the line is not stopped"
            return Trigger(AlarmKind.LATE, score, proof, reason)
        return Trigger(AlarmKind.DEFECTS, score, proof, reason)
    limit = policy.not_decidable
    if score.verdict is Verdict.NOT_DECIDABLE and count_bad(camera.frames) >= limit.limit:
        proof = evidence(camera.frames, limit.of_last)
        doubts = ", ".join(score.doubts) or "no reason given"
        reason = f"{proof.k} of the last {limit.of_last} frames not inspected at camera {score.camera_id} ({doubts})"
        return Trigger(AlarmKind.NOT_INSPECTED, score, proof, reason)
    return None


def _respond(state: LineState, trigger: Trigger, now: datetime, *, hold: bool, max_age_s: float) -> Stepped:
    """First in group: one alarm per kind and one HOLD per episode. More cameras are noted, each once."""
    score = trigger.score
    episode = state.episode or Episode(episode_id=f"{score.line_id}:{score.frame_id}")
    standing = state.latched_as(trigger.kind)
    hold = hold and episode.hold is None
    events: list[Effect] = []
    if standing is None:
        alarm = effects.raise_alarm(trigger, episode.episode_id, now)
        standing = Latched(alarm=alarm, cameras=(score.camera_id,))
        events.append(alarm)
    elif hold or score.camera_id not in standing.cameras:
        alarm = effects.note(standing.alarm, trigger.reason, now)
        standing = Latched(alarm=alarm, cameras=tuple(dict.fromkeys((*standing.cameras, score.camera_id))))
        events.append(alarm)
    if hold:
        command = effects.hold(trigger, episode.episode_id, now, max_age_s)
        episode = episode.model_copy(update={"hold": command})
        events.append(command)
    return Stepped(state.with_latched(standing).model_copy(update={"episode": episode}), tuple(events))


def _applied(state: LineState, **offsets: int) -> LineState:
    return state.model_copy(update={"applied": state.applied.model_copy(update=offsets)})
