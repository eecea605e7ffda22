"""One image, scored on request: the same decode, checks and `predict` as in the stream, but no event."""

import base64

import numpy as np
from pydantic import BaseModel, ConfigDict

from pipeline.events import Doubt, ModelRef, Verdict
from pipeline.frames import decode, doubts_of_pixels, to_gray
from pipeline.maps import encode_map
from pipeline.recipes import LoadedRecipe


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


def score_image(value: bytes, recipe: LoadedRecipe) -> SingleScore:
    """Raises FrameError for bytes that are no image."""
    info = recipe.detector.info
    pixels = decode(value, info.input.mode)
    doubts = doubts_of_pixels(to_gray(pixels), info.calibration.quality)
    threshold = info.calibration.threshold
    if not info.input.accepts(*pixels.shape[:2]):
        return SingleScore(
            verdict=Verdict.NOT_DECIDABLE,
            doubts=(*doubts, Doubt.WRONG_SIZE),
            score=None,
            threshold=threshold,
            features={},
            model=recipe.model,
            map_png=None,
            map_low=None,
            map_high=None,
        )
    found = recipe.detector.predict(pixels[np.newaxis])
    score = float(found.scores[0])
    judged = Verdict.NOT_OK if score >= threshold else Verdict.OK
    encoded = encode_map(found.maps[0], lossless=False)
    return SingleScore(
        verdict=Verdict.NOT_DECIDABLE if doubts else judged,
        doubts=tuple(doubts),
        score=score,
        threshold=threshold,
        features={name: float(values[0]) for name, values in found.features.items()},
        model=recipe.model,
        map_png=base64.b64encode(encoded["map_u8"]).decode(),
        map_low=float(encoded["low"]),
        map_high=float(encoded["high"]),
    )
