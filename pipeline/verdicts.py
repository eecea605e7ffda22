"""The one rule that makes a score a verdict. It holds for the stream, a shadow, a single image and every threshold that
is only tried."""

from collections.abc import Collection

from pipeline.events import Doubt, Verdict


def verdict_of(score: float | None, threshold: float, doubts: Collection[Doubt] = ()) -> Verdict:
    """NOT_DECIDABLE where there is a doubt or no score; else NOT_OK at the threshold and above it."""
    if doubts or score is None:
        return Verdict.NOT_DECIDABLE
    return Verdict.NOT_OK if score >= threshold else Verdict.OK
