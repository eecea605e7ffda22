"""Candidates: what is tried beside the live model. They stop nothing and tell what they would have stopped.

A candidate is a threshold of the line's policy, on the scores of the live bundle, or the shadow bundle that the
recipe names, with a verdict of its own. The line's policy holds for both: k of n, delays, age and blindness.

A person resets a line; nobody resets a candidate. So its stop counts as over once its windows are no longer full, and
the next full window is the next stop.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from pipeline.events import Action, AlarmKind, LineCommand, Score, ShadowScore, Verdict
from pipeline.verdicts import verdict_of
from workers.alerting.core import effects, triggers
from workers.alerting.core.effects import Trigger
from workers.alerting.core.state import Camera, LineState, Trial
from workers.alerting.core.window import add_frame, add_part
from workers.alerting.policy import LinePolicy

SHADOW = "shadow:"
"""Before the name of a shadow bundle. No candidate of a policy can be called so."""


@dataclass(frozen=True)
class _Opinion:
    """One candidate's view of a frame."""

    name: str
    score: Score | None
    """None where it did not look: its windows stay as they are."""
    policy: LinePolicy
    watches_blindness: bool = False
    """Whether it may be blind where the live bundle is not."""
    model_hash: str | None = None
    """A bundle that was delivered anew under its old name is another candidate, and begins anew."""


def judge(
    camera: Camera, score: Score, policy: LinePolicy, epoch: int, now: datetime
) -> tuple[Camera, tuple[LineCommand, ...]]:
    """The camera with its trials moved on, and the stops that they would have made for this frame."""
    trials, told = {}, []
    for opinion in _opinions(score, policy):
        trial = camera.trials.get(opinion.name)
        if trial is None or trial.model_hash != opinion.model_hash:
            trial = Trial(model_hash=opinion.model_hash)
        if opinion.score is not None:
            trial, command = _try(trial, opinion, opinion.score, epoch, now)
            told += [command] if command else []
        trials[opinion.name] = trial
    if trials == camera.trials:
        return camera, ()
    return camera.model_copy(update={"trials": trials}), tuple(told)


def _try(trial: Trial, opinion: _Opinion, score: Score, epoch: int, now: datetime) -> tuple[Trial, LineCommand | None]:
    """Through the very functions that judge the live verdicts."""
    policy = opinion.policy
    seen = Camera(
        parts=add_part(trial.parts, score, policy.n),
        frames=add_frame(trial.frames, score, policy.not_decidable.of_last) if opinion.watches_blindness else (),
        parts_full_since=trial.parts_full_since,
        frames_full_since=trial.frames_full_since,
        captured_at=score.captured_at,
    )
    seen = triggers.mark_full(seen, score, policy)
    trigger = None
    if not trial.stopped and not triggers.is_late(score, policy, now):
        trigger = triggers.trigger(LineState(line_id=score.line_id), seen, score, policy, now)
    full = seen.parts_full_since is not None or seen.frames_full_since is not None
    after = Trial(
        model_hash=trial.model_hash,
        parts=seen.parts,
        frames=seen.frames,
        parts_full_since=seen.parts_full_since,
        frames_full_since=seen.frames_full_since,
        stopped=full and (trial.stopped or trigger is not None),
    )
    return after, _command(opinion, trigger, epoch, now) if trigger else None


def _command(opinion: _Opinion, trigger: Trigger, epoch: int, now: datetime) -> LineCommand:
    policy = opinion.policy
    response = policy.not_decidable.action if trigger.kind is AlarmKind.NOT_INSPECTED else policy.action
    return effects.command(
        trigger,
        f"{trigger.score.line_id}:{trigger.score.frame_id}",
        response.action or Action.HOLD,
        now,
        epoch=epoch,
        max_age_s=policy.max_age_s,
        candidate=opinion.name,
        simulated=True,
    )


def _opinions(score: Score, policy: LinePolicy) -> Iterator[_Opinion]:
    for name, candidate in policy.candidates.items():
        own = policy.model_copy(update={"k": candidate.k or policy.k, "n": candidate.n or policy.n})
        yield _Opinion(name, _at(score, candidate.threshold), own)
    shadow = score.shadow
    if shadow is not None and shadow.model is not None:
        yield _Opinion(
            f"{SHADOW}{shadow.model.bundle}",
            _as_shadow(score, shadow),
            policy,
            watches_blindness=policy.not_decidable.action.action is not None,
            model_hash=shadow.model.hash,
        )


def _at(score: Score, threshold: float) -> Score:
    if score.score is None or score.verdict is Verdict.NOT_DECIDABLE:
        return score
    return score.model_copy(update={"verdict": verdict_of(score.score, threshold), "threshold": threshold})


def _as_shadow(score: Score, shadow: ShadowScore) -> Score | None:
    if shadow.verdict is None or shadow.threshold is None or shadow.model is None:
        return None
    return score.model_copy(
        update={
            "verdict": shadow.verdict,
            "doubts": shadow.doubts,
            "score": shadow.score,
            "threshold": shadow.threshold,
            "model": shadow.model,
        }
    )
