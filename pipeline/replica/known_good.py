"""The last frame that each model scored, to tell a fault of the model from one of a frame.

A GPU whose context broke (an ECC error, a driver that was reset) fails on every frame from then on. To call those
frames bad would bury them as dead letters.
"""

import logging
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from pipeline.detectors.base import Detector
from pipeline.errors import AndonError

log = logging.getLogger(__name__)


class ModelFailedError(AndonError):
    """A model that could score and can no longer. A new process may mend it; this one can't."""


class KnownGood:
    """Keeps one frame a model. A model that is no longer in use takes its frame along."""

    def __init__(self) -> None:
        self._frames: WeakKeyDictionary[Detector, NDArray[np.uint8]] = WeakKeyDictionary()

    def keep(self, detector: Detector, pixels: NDArray[np.uint8]) -> None:
        """pixels: (H, W) or (H, W, 3), a frame that `detector` has just scored."""
        self._frames[detector] = pixels

    def check(self, detector: Detector, error: str) -> None:
        """After `detector` failed on a frame with `error`: has it score once more what it could score before.

        Raises ModelFailedError where it can't. A model that has scored nothing yet is given the benefit of the doubt.
        """
        known = self._frames.get(detector)
        if known is None:
            return
        try:
            detector.predict(known[None])
        except Exception as again:
            raise ModelFailedError(
                f"model {detector.info.name!r} failed ({error}), and fails on a frame that it has scored before, too "
                f"({type(again).__name__}: {again}). The frames are not at fault and stay in Kafka; this process ends, "
                "so that a new one can score them. If that fails alike, look at the GPU, its driver and its memory"
            ) from again
        log.warning("model %r failed on a frame: %s", detector.info.name, error)
