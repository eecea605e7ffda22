"""From "at most one false stop a shift" to a threshold, and how sure one may be of it.

Three steps. How often may a good frame be called NOT_OK, if k of n such calls stop the line? Where must the threshold
lie so that, with the given confidence, good frames are called NOT_OK no more often? How many normals does that take?
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipeline.counting import counted
from pipeline.training.threshold.calibrate import CalibrationError

_DEBOUNCES = ((2, 3), (3, 5), (4, 7), (5, 9), (6, 11))
"""Tried in turn for a hint."""
_STILL_MEANT = 10
"""A hint asks for at most so many times the stops that were asked for."""
_LEAST = 1e-12
"""Of frames that begin a stop; below that its rate is lost in rounding."""


@dataclass(frozen=True)
class Target:
    """What is asked for."""

    stops_per_shift: float
    fps: float
    shift_hours: float = 8.0
    k: int = 1
    n: int = 1
    confidence: float = 0.95

    def __post_init__(self) -> None:
        given = (self.stops_per_shift, self.fps, self.shift_hours)
        if not all(0 < value < math.inf for value in given) or not 0 < self.confidence < 1:
            raise CalibrationError(
                "stops, fps and hours must be above 0 and finite, and the confidence between 0 and 1"
            )
        if not 1 <= self.k <= self.n:
            raise CalibrationError(f"a line cannot stop at {self.k} of the last {self.n} parts: give 1 ≤ k ≤ n")

    @property
    def frames_per_shift(self) -> float:
        return self.fps * 3600 * self.shift_hours


def stops_per_frame(rate: float, k: int, n: int) -> float:
    """The highest share of good frames at which a stop may begin, if each is NOT_OK at this rate, independently.

    A stop begins with a frame that is NOT_OK after k − 1 or more of the n − 1 before it: p · P(Bin(n − 1, p) ≥ k − 1).
    """
    from scipy.stats import binom

    return rate * float(binom.sf(k - 2, n - 1, rate))


def allowed_rate(target: Target) -> float:
    """The share of good frames that may be NOT_OK."""
    from scipy.optimize import brentq

    goal = target.stops_per_shift / target.frames_per_shift
    if goal < _LEAST:
        raise CalibrationError(f"{_stops(target)} a shift: that few no number of images can show")
    if goal >= 1:
        raise CalibrationError(f"{_stops(target)} a shift: that is more than it has frames")
    return float(brentq(lambda rate: stops_per_frame(rate, target.k, target.n) - goal, 0, 1, xtol=1e-15))


def normals_for(rate: float, confidence: float) -> int:
    """The fewest normals that can show, with this confidence, that good frames are NOT_OK at most at this rate: even
    if none of them is, 1 − (1 − rate)^N must reach it."""
    return math.ceil(math.log1p(-confidence) / math.log1p(-rate) - 1e-9)


@dataclass(frozen=True)
class Chosen:
    """A threshold and what is known of it."""

    threshold: float
    rate: float
    """The share of good frames that, with the asked confidence, is not exceeded."""
    expected_rate: float
    interval: tuple[float, float]
    """95 % of the share. Exact for continuous scores, and on the safe side where scores tie."""


def choose_threshold(scores: NDArray[np.float64], target: Target) -> Chosen:
    """The lowest threshold that keeps the target with the target's confidence. scores (N,): of held-out normals.

    Above the highest but e of N scores lies a share of all normals that is Beta(e + 1, N − e) distributed, whatever
    the distribution of the scores (Wilks 1941, tolerance limits). Its upper quantile is the Clopper-Pearson limit for e
    of N. Raises CalibrationError that says how many normals are needed, when these are too few.
    """
    from scipy.stats import beta

    rate, count = allowed_rate(target), len(scores)
    if count < normals_for(rate, target.confidence):
        raise CalibrationError(_too_few(count, rate, target))
    beyond = np.arange(count)
    kept = beta.cdf(rate, beyond + 1, count - beyond) >= target.confidence
    most = int(beyond[kept][-1])
    low, high = beta.ppf([0.025, 0.975], most + 1, count - most)
    return Chosen(
        threshold=float(np.nextafter(np.sort(scores)[count - 1 - most], np.inf)),
        rate=rate,
        expected_rate=(most + 1) / (count + 1),
        interval=(float(low), float(high)),
    )


def _too_few(count: int, rate: float, target: Target) -> str:
    frames, sure = target.frames_per_shift, f"{100 * target.confidence:g} %"
    said = (
        f"{counted(count, 'held-out normal')} cannot promise {_stops(target)} in a shift of {frames:,.0f} parts where "
        f"the line stops at {target.k} of {target.n}: one good part in {1 / rate:,.0f} may then be NOT_OK, and to be "
        f"{sure} sure of that takes {normals_for(rate, target.confidence):,} normals."
    )
    if not count:
        return said
    shown = -math.expm1(math.log1p(-target.confidence) / count)
    stops = _round_up(stops_per_frame(shown, target.k, target.n) * frames)
    # Beyond that it is another wish: three images can show 190,000 stops.
    hints = [f"ask for --false-stops-per-shift {stops:g}"] if stops <= _STILL_MEANT * target.stops_per_shift else []
    takes = {
        (k, n): normals_for(allowed_rate(replace(target, k=k, n=n)), target.confidence)
        for k, n in _DEBOUNCES
        if k > target.k
    }
    if enough := [which for which, needed in takes.items() if needed <= count]:
        k, n = enough[0]
        hints.append(f"stop at more parts (--k {k} --n {n} here, and k and n in the line's policy)")
    elif takes:
        fewer = ", ".join(f"{needed:,} with --k {k} --n {n}" for (k, n), needed in takes.items())
        hints.append(f"stop at more parts, here and in the line's policy, which takes fewer: {fewer}")
    return f"{said} {', or '.join(['Give more', *hints])}."


def _stops(target: Target) -> str:
    return f"{target.stops_per_shift:g} false stop" + ("" if target.stops_per_shift == 1 else "s")


def _round_up(value: float) -> float:
    """To two significant digits."""
    step = 10.0 ** (math.floor(math.log10(value)) - 1)
    return math.ceil(value / step) * step
