"""Candidates: thresholds tried beside the live one on the same scores. They stop nothing and tell what they would have.

A person resets a line; nobody resets a candidate. So its stop counts as over once its window is no longer full, and
the next full window is the next stop.
"""

from datetime import datetime

from pipeline.events import Action, AlarmKind, LineCommand, Score, Verdict
from workers.alerting import effects, triggers
from workers.alerting.effects import Trigger
from workers.alerting.policy import LinePolicy
from workers.alerting.state import Camera, Trial
from workers.alerting.window import add_part, count_bad, evidence


def judge(
    camera: Camera, score: Score, policy: LinePolicy, epoch: int, now: datetime
) -> tuple[Camera, tuple[LineCommand, ...]]:
    """The camera with its trials moved on, and the stops that they would have made for this frame."""
    if not policy.candidates:
        return (camera.model_copy(update={"trials": {}}) if camera.trials else camera), ()
    trials, told = {}, []
    for name, candidate in policy.candidates.items():
        trial = camera.trials.get(name, Trial())
        k, n = policy.with_candidate(candidate)
        rescored = _rescored(score, candidate.threshold)
        parts = add_part(trial.parts, rescored, n)
        full = count_bad(parts) >= k
        if (
            full
            and not trial.stopped
            and rescored.verdict is Verdict.NOT_OK
            and not triggers.is_late(score, policy, now)
        ):
            proof = evidence(parts, n)
            reason = f"{proof.k} of the last {n} parts at or above {candidate.threshold:g} at camera {score.camera_id}"
            trigger = Trigger(AlarmKind.DEFECTS, rescored, proof, reason)
            told.append(
                effects.command(
                    trigger,
                    f"{score.line_id}:{score.frame_id}",
                    policy.action.action or Action.HOLD,
                    now,
                    epoch=epoch,
                    max_age_s=policy.max_age_s,
                    candidate=name,
                    simulated=True,
                )
            )
            trial = Trial(parts=parts, stopped=True)
        trials[name] = Trial(parts=parts, stopped=trial.stopped and full)
    return camera.model_copy(update={"trials": trials}), tuple(told)


def _rescored(score: Score, threshold: float) -> Score:
    if score.score is None or score.verdict is Verdict.NOT_DECIDABLE:
        return score
    verdict = Verdict.NOT_OK if score.score >= threshold else Verdict.OK
    return score.model_copy(update={"verdict": verdict, "threshold": threshold})
