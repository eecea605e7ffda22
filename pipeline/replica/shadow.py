"""A bundle that is tried beside the live one: it looks at the same pixels once the live verdicts stand.

What is tried must not cost what is real. So the shadow looks only while no frames wait, in one pass at a time on a
thread of its own, and a batch waits for it no longer than `within_s`. A pass that took longer is thrown away, and the
shadow rests. Whatever it did not look at says why.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline import apart
from pipeline.detectors.base import Detector
from pipeline.events import Doubt, ShadowScore, ShadowSkip
from pipeline.frames import doubts_of_picture
from pipeline.replica.recipes import LoadedShadow
from pipeline.verdicts import verdict_of

log = logging.getLogger("ray.serve")

REST = 9
"""So many times as long as a pass that came too late took, nothing is asked: it may cost a tenth of the time."""


@dataclass(frozen=True)
class Look:
    """One frame that the shadow is to judge."""

    shadow: LoadedShadow
    pixels: NDArray[np.uint8]
    """(H, W) or (H, W, 3), as the live bundle had it."""
    doubts: tuple[Doubt, ...]
    """Of its clock and its sameness, which hold for every bundle."""


class Shadows:
    """Called by one thread."""

    def __init__(
        self,
        within_s: float = 0.25,
        behind: Callable[[], bool] = lambda: False,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """behind: whether frames wait for the live bundle. `clock_s`: how long a pass takes, and a rest."""
        self.within_s = within_s
        self._behind = behind
        self._clock_s = clock_s
        self._running: Future[_Passed] | None = None
        self._rest_until_s = 0.0
        self._failing: set[str] = set()
        """Bundles."""

    def judge(self, looks: Sequence[Look]) -> list[ShadowScore]:
        """In the same order. Returns within `within_s`, and raises nothing."""
        ready = [look for look in looks if look.shadow.detector is not None]
        outcome = self._pass(ready) if ready else []
        if isinstance(outcome, ShadowSkip):
            outcome = [_skipped(look.shadow, outcome) for look in ready]
        scores = iter(outcome)
        return [
            _skipped(look.shadow, ShadowSkip.NOT_LOADED) if look.shadow.detector is None else next(scores)
            for look in looks
        ]

    def _pass(self, looks: Sequence[Look]) -> list[ShadowScore] | ShadowSkip:
        if self._behind():
            return ShadowSkip.BACKLOG
        resting = self._clock_s() < self._rest_until_s
        if resting or (self._running is not None and not self._running.done()):
            return ShadowSkip.SLOW
        try:
            self._running = apart.begin(lambda: self._timed(looks), "shadow")
            wait([self._running], self.within_s)
            if not self._running.done():
                return ShadowSkip.SLOW
            passed = self._running.result()
        except BaseException as error:  # no thread to be had, or no memory
            self._tell(looks, dict.fromkeys((look.shadow.bundle for look in looks), error))
            return ShadowSkip.FAILED
        self._tell(looks, passed.faults)
        return passed.scores

    def _timed(self, looks: Sequence[Look]) -> "_Passed":
        began_s = self._clock_s()
        try:
            return _judge_all(looks)
        finally:
            self._rest_after(began_s)

    def _rest_after(self, began_s: float) -> None:
        took_s = self._clock_s() - began_s
        if took_s > self.within_s:
            self._rest_until_s = self._clock_s() + REST * took_s

    def _tell(self, looks: Sequence[Look], faults: Mapping[str, BaseException]) -> None:
        """Once, while a bundle goes on to raise; it is counted always."""
        for bundle in sorted(faults.keys() - self._failing):
            log.error("shadow bundle %r raised: %s: %s", bundle, type(faults[bundle]).__name__, faults[bundle])
        self._failing = self._failing - {look.shadow.bundle for look in looks} | faults.keys()


@dataclass(frozen=True)
class _Passed:
    scores: list[ShadowScore]
    faults: Mapping[str, BaseException]
    """By bundle. What one raised says nothing of the others."""


def _judge_all(looks: Sequence[Look]) -> _Passed:
    """One network pass for all frames of one bundle and size."""
    groups: dict[tuple[int, tuple[int, ...]], list[int]] = {}
    for i, look in enumerate(looks):
        groups.setdefault((id(look.shadow), look.pixels.shape), []).append(i)
    found: dict[int, ShadowScore] = {}
    faults: dict[str, BaseException] = {}
    for group in groups.values():
        shadow = looks[group[0]].shadow
        try:
            found |= _judge_alike({i: looks[i] for i in group}, shadow)
        except BaseException as error:
            faults[shadow.bundle] = error
            found |= {i: _skipped(shadow, ShadowSkip.FAILED) for i in group}
    return _Passed([found[i] for i in range(len(looks))], faults)


def _judge_alike(looks: Mapping[int, Look], shadow: LoadedShadow) -> dict[int, ShadowScore]:
    detector = shadow.detector
    assert detector is not None
    pixels = [look.pixels for look in looks.values()]
    fits = detector.info.input.accepts(*pixels[0].shape[:2])
    scores = detector.predict(np.stack(pixels)).scores if fits else [None] * len(looks)
    return {
        i: _judge(look, detector, None if score is None else float(score))
        for (i, look), score in zip(looks.items(), scores, strict=True)
    }


def _judge(look: Look, detector: Detector, score: float | None) -> ShadowScore:
    threshold = detector.info.calibration.threshold
    doubts = (*look.doubts, *doubts_of_picture(look.pixels, detector.info))
    return ShadowScore(
        bundle=look.shadow.bundle,
        verdict=verdict_of(score, threshold, doubts),
        doubts=doubts,
        score=score,
        threshold=threshold,
        model=look.shadow.model,
    )


def _skipped(shadow: LoadedShadow, why: ShadowSkip) -> ShadowScore:
    detector = shadow.detector
    return ShadowScore(
        bundle=shadow.bundle,
        verdict=None,
        skipped=why,
        score=None,
        threshold=None if detector is None else detector.info.calibration.threshold,
        model=shadow.model,
    )
