"""A new threshold for a bundle, from good images that its model was not fitted on."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from pipeline.counting import counted
from pipeline.detectors.base import Detector
from pipeline.detectors.bundle import BundleInfo, Calibration, Promise, copy_bundle
from pipeline.training.figures.measure import check_images
from pipeline.training.images.copies import hash_of, said_of_repeats, without_copies, without_repeats
from pipeline.training.images.data import DataError, fingerprint, pixels_of, read_frame
from pipeline.training.images.layouts import TestImage, find_layout
from pipeline.training.images.parts import highest_of_parts, order_of_production, parts_of
from pipeline.training.threshold.calibrate import CalibrationError, Light, light_of, quality_limits, quantiles
from pipeline.training.threshold.false_stops import Chosen, Target, choose_threshold
from pipeline.training.threshold.neighbours import likeness_of_neighbours
from pipeline.training.track import Track, untracked


@dataclass(frozen=True)
class Normals:
    """Good images for a threshold."""

    paths: tuple[Path, ...]
    fitted: int
    """So many were left out: the model was fitted on them, and they score too low."""
    known: bool
    """Whether the bundle tells what it was fitted on."""
    copies: tuple[Path, ...]
    """Left out, too: they are copies of others."""


def held_out_normals(data: Path, info: BundleInfo) -> Normals:
    """The good images of a data set (see `find_layout`) but for copies, and for those that the model was fitted on.

    Raises DataError when none is left.
    """
    paths, copies = without_copies(find_layout(data).normals)
    if not paths:
        raise DataError(
            f"{data} holds no images of good parts: put them right into {data} or into {data / 'train' / 'good'}"
        )
    fitted = set(info.training.get("fitted_on", ()))
    kept = tuple(path for path in paths if hash_of(path) not in fitted) if fitted else paths
    if not kept:
        raise DataError(
            f"the model was fitted on all {len(paths)} good images of {data}, and their scores are too low for a "
            "threshold: give images of other good parts"
        )
    return Normals(kept, len(paths) - len(kept), bool(fitted), copies)


@dataclass(frozen=True)
class Recalibrated:
    chosen: Chosen
    calibration: Calibration
    called_before: float
    """The share of these normals that the old threshold calls NOT_OK."""
    likeness: float | None
    """Of parts to the one before: see `likeness_of_neighbours`."""
    repeats: tuple[Path, ...]
    """Left out: their pixels are those of others."""


def recalibrate(
    detector: Detector,
    normals: Sequence[Path],
    target: Target,
    track: Track = untracked,
    same_part: int | None = None,
) -> Recalibrated:
    """Scores the normals, one at a time, and sets threshold, quantiles and quality limits from them.

    same_part: see `parts_of`. Of a part with several pictures the highest score counts, once: a new part is then called
    NOT_OK in any of its pictures at most at the rate, and so is no more of its pictures.

    Raises CalibrationError when they are too few for the target, before anything is scored, or after it where it is
    for want of those that repeat the pixels of others; DataError that names every image that cannot be used.
    """
    # The number needed does not depend on the scores.
    parts = parts_of(normals, same_part)
    count = len(np.unique(parts))
    try:
        choose_threshold(np.arange(count, dtype=np.float64), target)
    except CalibrationError as error:
        if count == len(normals):
            raise
        said = f"the {len(normals)} images show {counted(count, 'part')}, and each counts once: {error}"
        raise CalibrationError(said) from None
    info = detector.info
    check_images([TestImage(path, "good") for path in normals], info, False, track)
    found: dict[str, float] = {}
    pixels: list[str] = []
    lights: list[Light] = []
    for number in track(range(len(normals)), "scoring"):
        frame = read_frame(normals[number], info.input.mode)
        lights.append(light_of(frame))
        pixels.append(pixels_of(frame))
        if pixels[-1] not in found:
            found[pixels[-1]] = float(detector.predict(frame[None]).scores[0])
    kept, repeats = without_repeats(normals, pixels)
    scores = np.array(list(found.values()))
    part_of = dict(zip(normals, parts, strict=True))
    parts = np.unique([part_of[path] for path in kept], return_inverse=True)[1]
    of_parts = highest_of_parts(scores, parts)
    try:
        chosen = choose_threshold(of_parts, target)
    except CalibrationError as error:
        raise CalibrationError(f"{error}\n{said_of_repeats(repeats)}") from None
    calibration = Calibration(
        threshold=chosen.threshold,
        false_alarm_rate=chosen.rate,
        normals=len(of_parts),
        score_quantiles=quantiles(scores),
        quality=quality_limits(lights),
        promise=Promise(
            false_stops_per_shift=target.stops_per_shift,
            fps=target.fps,
            shift_hours=target.shift_hours,
            k=target.k,
            n=target.n,
            confidence=target.confidence,
            rate_interval=chosen.interval,
        ),
    )
    called_before = float(np.mean(scores >= info.calibration.threshold))
    one_by_one = list(dict.fromkeys(parts[order_of_production(kept)].tolist()))
    return Recalibrated(chosen, calibration, called_before, likeness_of_neighbours(of_parts[one_by_one]), repeats)


def write_recalibrated(
    source: Path,
    out: Path,
    name: str,
    info: BundleInfo,
    calibration: Calibration,
    normals: Sequence[Path],
    data: Path,
    command: str,
) -> BundleInfo:
    """The bundle at `source` with this calibration, of these normals, at `out`, which may be the same folder."""
    facts = {"data": str(data), "command": command, "at": datetime.now(UTC).isoformat(timespec="seconds")}
    own = {"calibrated": facts, "calibrated_on": [fingerprint(path) for path in normals]}
    written = info.model_copy(update={"name": name, "calibration": calibration, "training": {**info.training, **own}})
    copy_bundle(source, out, written)
    return written
