"""One image, scored on request: the same decode, checks and `predict` as in the stream, but no event."""

import base64
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from pipeline.detectors.base import Detector, Prediction
from pipeline.events import Doubt, ModelRef, Verdict
from pipeline.frames import decode, doubts_of_picture
from pipeline.maps import encode_map
from pipeline.replica.recipes import LoadedRecipe
from pipeline.verdicts import verdict_of


class SingleScore(BaseModel):
    """What the model says of one image. `map_png` is the 8-bit anomaly map in base64: 0 and 255 stand for `map_low`
    and `map_high`."""

    model_config = ConfigDict(frozen=True)

    verdict: Verdict
    doubts: tuple[Doubt, ...]
    score: float | None
    threshold: float
    features: dict[str, float]
    model: ModelRef
    map_png: str | None
    map_low: float | None
    map_high: float | None


@dataclass(frozen=True)
class Judged:
    """One frame's verdict and what it rests on."""

    verdict: Verdict
    doubts: tuple[Doubt, ...]
    prediction: Prediction | None
    """Of this one frame; None where its size is not one that the model judges."""


def judge(pixels: NDArray[np.uint8], detector: Detector) -> Judged:
    """(H, W[, 3]) → the verdict that the stream would give, but for doubts about clocks and hung cameras."""
    info = detector.info
    doubts = tuple(doubts_of_picture(pixels, info))
    found = None if Doubt.WRONG_SIZE in doubts else detector.predict(pixels[np.newaxis])
    score = None if found is None else float(found.scores[0])
    return Judged(verdict_of(score, info.calibration.threshold, doubts), doubts, found)


def score_image(value: bytes, recipe: LoadedRecipe) -> SingleScore:
    """Raises FrameError for bytes that are no image."""
    info = recipe.detector.info
    judged = judge(decode(value, info.input.mode), recipe.detector)
    found = judged.prediction
    encoded = None if found is None else encode_map(found.maps[0], half_precision=False)
    return SingleScore(
        verdict=judged.verdict,
        doubts=judged.doubts,
        score=None if found is None else float(found.scores[0]),
        threshold=info.calibration.threshold,
        features={} if found is None else {name: float(values[0]) for name, values in found.features.items()},
        model=recipe.model,
        map_png=base64.b64encode(encoded["map_u8"]).decode() if encoded else None,
        map_low=float(encoded["low"]) if encoded else None,
        map_high=float(encoded["high"]) if encoded else None,
    )
