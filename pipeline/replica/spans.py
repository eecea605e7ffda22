"""The span of a scored frame: from the batch that it was read in to the broker's word that its score is there."""

from datetime import timedelta

from pipeline.events import now
from pipeline.scoring import Scored
from pipeline.tracing import Attributes, Tracer

_IN_THE_REPLICA = ("decode", "wait", "infer")


def score_spans(tracer: Tracer, scored: Scored) -> None:
    delivered_at = now()
    for score, parent in zip(scored.scores, scored.parents, strict=True):
        took_ms = sum(score.timings_ms.get(stage, 0.0) for stage in _IN_THE_REPLICA)
        attributes: Attributes = {
            "frame_id": score.frame_id,
            "camera_id": score.camera_id,
            "line_id": score.line_id,
            "recipe": score.recipe,
            "verdict": score.verdict.value,
            "threshold": score.threshold,
            "model.bundle": score.model.bundle,
            "model.hash": score.model.hash,
            **({} if score.score is None else {"score": score.score}),
            **{f"{stage}_ms": ms for stage, ms in score.timings_ms.items()},
        }
        begin = score.scored_at - timedelta(milliseconds=took_ms)
        tracer.span("score", score.traceparent, parent, begin, delivered_at, attributes)
