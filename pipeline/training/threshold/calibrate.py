"""From the scores of held-out normals to a threshold, and from their looks to quality limits."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.counting import counted
from pipeline.detectors.bundle import Calibration, QualityLimits
from pipeline.errors import AndonError
from pipeline.frames import mean_level, sharpness, to_gray
from pipeline.training.images.parts import highest_of_parts

QUANTILES = ("0.01", "0.05", "0.25", "0.5", "0.75", "0.95", "0.99")
_MARGIN_OF_SPREAD = 1.0
_LEAST_MARGIN_LEVELS = 10.0
_SHARPNESS_KEPT = 0.5


class CalibrationError(AndonError):
    """Too few normals for the promise that was asked for."""


def normals_needed(false_alarm_rate: float) -> int:
    """The fewest calibration normals for which a finite threshold can keep the rate: ⌈1/α⌉ − 1."""
    return math.ceil(1 / false_alarm_rate - 1e-9) - 1


def reachable(normals: int) -> str:
    """The lowest rate that so many normals can keep, as an option takes it: rounded up, lest it be refused when it is
    given."""
    return f"{math.ceil(10_000 / (normals + 1)) / 10_000:g}"


def conformal_threshold(scores: NDArray[np.float64], false_alarm_rate: float) -> float:
    """The threshold at which a new normal, exchangeable with these, is called NOT_OK at most at this rate.

    Split conformal prediction (Vovk et al. 2005; Angelopoulos & Bates, arXiv 2107.07511, eq. 1): the
    ⌈(n + 1)(1 − α)⌉-th smallest of n scores q has P(new > q) ≤ α. A frame is NOT_OK at score ≥ threshold, so the
    threshold is the next float above q. Raises CalibrationError when n is too small for α, or a score is not finite.
    """
    if not 0 < false_alarm_rate < 1:
        raise CalibrationError(f"the false alarm rate must lie between 0 and 1, not {false_alarm_rate}")
    if not np.isfinite(scores).all():
        raise CalibrationError("the model gives normals scores that are not finite: its training failed")
    needed = normals_needed(false_alarm_rate)
    if len(scores) < needed:
        raise CalibrationError(
            f"{counted(len(scores), 'held-out normal')} cannot promise a false alarm rate of {false_alarm_rate:.2%}: "
            f"that takes at least {needed}. Give more images of good parts, or --false-alarm-rate "
            f"{reachable(len(scores))} or more."
        )
    rank = math.ceil((len(scores) + 1) * (1 - false_alarm_rate) - 1e-9)
    return float(np.nextafter(np.sort(scores)[rank - 1], np.inf))


@dataclass(frozen=True)
class Light:
    """Of one normal."""

    level: float
    sharpness: float


def light_of(frame: NDArray[np.uint8]) -> Light:
    """Of (H, W) or (H, W, 3)."""
    gray = to_gray(frame)
    return Light(mean_level(gray), sharpness(gray))


def quality_limits(lights: Sequence[Light]) -> QualityLimits:
    """Limits from the light of each normal, with a margin as wide as their own spread: the darkest normal of the next
    shift must still be decided on, a covered lamp must not."""
    levels = [light.level for light in lights]
    darkest, brightest = min(levels), max(levels)
    margin = max(_LEAST_MARGIN_LEVELS, _MARGIN_OF_SPREAD * (brightest - darkest))
    return QualityLimits(
        dark_below=max(0.5 * darkest, darkest - margin),
        bright_above=min(255.0, brightest + margin),
        blurred_below=_SHARPNESS_KEPT * min(light.sharpness for light in lights),
    )


def quantiles(scores: NDArray[np.float64]) -> dict[str, float]:
    """For `Calibration.score_quantiles`."""
    return {name: float(np.quantile(scores, float(name))) for name in QUANTILES}


def calibrate(
    scores: NDArray[np.float64],
    parts: NDArray[np.int64],
    lights: Sequence[Light],
    false_alarm_rate: float,
) -> Calibration:
    """scores (N,) of the calibration normals, and the part that each shows: of one with several pictures the highest
    score counts, once. lights: of all normals, for the quality limits. Nothing is fitted to them, and who gives an
    image to train on calls it fit to be judged."""
    of_parts = highest_of_parts(scores, parts)
    return Calibration(
        threshold=conformal_threshold(of_parts, false_alarm_rate),
        false_alarm_rate=false_alarm_rate,
        normals=len(of_parts),
        score_quantiles=quantiles(scores),
        quality=quality_limits(lights),
    )
