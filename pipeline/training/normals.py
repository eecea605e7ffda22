"""The normals of a data set, shared out among roles: what every method's training begins with."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.counting import counted
from pipeline.detectors.bundle import InputSpec
from pipeline.frames import Mode
from pipeline.training.images.copies import said, said_of_repeats, without_copies, without_repeats
from pipeline.training.images.data import (
    DataError,
    Frames,
    fingerprint,
    how_stored,
    input_spec,
    look_at,
    on_brightness,
)
from pipeline.training.images.enough import images_for
from pipeline.training.images.layouts import find_layout
from pipeline.training.images.parts import parts_of
from pipeline.training.images.split import Shares, Split, split_by_number
from pipeline.training.threshold.calibrate import CalibrationError, Light, normals_needed, reachable
from pipeline.training.told import Told
from pipeline.training.track import Track, untracked


@dataclass(frozen=True)
class Normals:
    mode: Mode
    spec: InputSpec
    parts: Split[Frames]
    """In the order of their names."""
    calibration_parts: NDArray[np.int64]
    """(N,): which part each image shows that the threshold is set by (`parts_of`)."""
    lights: Sequence[Light]
    """Of every image."""
    fingerprints: Mapping[Path, str]
    """Of every image as it was looked at: hours later it may be gone, though nobody needs it any more."""
    notes: tuple[str, ...]
    """See `Layout.notes`, `Stored.notes` and `on_brightness`; and which images were left out as copies of others."""

    def __str__(self) -> str:
        shares = ", ".join(f"{count} {role}" for role, count in self.counts.items())
        return f"{counted(len(self.lights), 'normal')}: {shares}"

    @property
    def counts(self) -> dict[str, int]:
        """Role → images, where it has any."""
        return {role: len(part) for role, part in vars(self.parts).items() if part}

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Of every image."""
        return [shape for part in vars(self.parts).values() for shape in part.shapes]

    def tell(self, told: Told, on_memory: Iterable[str]) -> None:
        told.say(str(self))
        for note in (*self.notes, *on_memory):
            told.say(f"note: {note}")

    def facts(self, data: Path, command: str, fitted_on: Sequence[str], packages: Sequence[str]) -> dict[str, Any]:
        """For the model card. fitted_on: the roles whose images must never set a threshold."""
        return {
            "data": str(data),
            "command": command,
            "images": self.counts,
            "fitted_on": [self.fingerprints[path] for role in fitted_on for path in getattr(self.parts, role).paths],
            "calibrated_on": [self.fingerprints[path] for path in self.parts.calibration.paths],
            "packages": {package: version(package) for package in packages},
        }


def read_normals(
    data: Path,
    shares: Shares,
    false_alarm_rate: float,
    min_side_px: int,
    same_part: int | None = None,
    track: Track = untracked,
) -> Normals:
    """data: see `find_layout`; same_part: see `parts_of`. Raises DataError, or CalibrationError where they can't
    promise the rate."""
    layout = find_layout(data)
    paths, copies = without_copies(layout.normals)
    if not paths:
        missing = f"{data} holds no images of good parts to train on: put them right into {data / 'train' / 'good'}"
        raise DataError("\n".join((missing, *layout.notes)))
    notes = (*layout.notes, *([said(copies)] if copies else []))
    split, shown = _shared_out(paths, shares, false_alarm_rate, same_part, notes)
    stored = how_stored(paths)
    looked = look_at(paths, stored.mode, track)
    notes += (*stored.notes, *on_brightness(looked))  # few levels make pixels alike, too
    paths, repeats = without_repeats(paths, [looked[path].pixels for path in paths])
    if repeats:
        notes += (said_of_repeats(repeats),)
        split, shown = _shared_out(paths, shares, false_alarm_rate, same_part, notes)
        looked = {path: looked[path] for path in paths}
    parts = Split(**{role: Frames(own, stored.mode, looked) for role, own in vars(split).items()})
    spec = input_spec({path: one.shape for path, one in looked.items()}, stored.mode, min_side_px)
    fingerprints = {path: fingerprint(path) for path in paths}
    lights = [one.light for one in looked.values()]
    return Normals(stored.mode, spec, parts, shown, lights, fingerprints, notes)


def _shared_out(
    paths: Sequence[Path], shares: Shares, rate: float, same_part: int | None, notes: Sequence[str]
) -> tuple[Split[tuple[Path, ...]], NDArray[np.int64]]:
    """And the part that each image shows that the threshold is set by."""
    split = split_by_number(paths, shares)
    shown = parts_of(split.calibration, same_part)
    try:
        _check_calibration(paths, len(shown), len(np.unique(shown)), shares, rate)
    except CalibrationError as error:
        raise CalibrationError("\n".join((str(error), *notes))) from None
    return split, shown


def _check_calibration(paths: Sequence[Path], calibration: int, parts: int, shares: Shares, rate: float) -> None:
    needed = normals_needed(rate)
    if parts < needed:
        # Images of one part each are numbered in another way than these.
        enough = images_for(needed, shares, paths if parts == calibration else ())
        or_ask = f", or --false-alarm-rate {reachable(parts)} or more" if parts else ""
        of_few = parts < calibration
        left, each = (f"{calibration} (of {counted(parts, 'part')})", ", one a part") if of_few else (calibration, "")
        raise CalibrationError(
            f"of {counted(len(paths), 'normal')} {left} remain for the threshold, and a false alarm rate of {rate:.2%} "
            f"takes at least {needed}. Give about {enough} images of good parts{each}{or_ask}."
        )
