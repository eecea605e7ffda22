"""A folder of images → verdicts, anomaly maps and overlays on disk. Files that cannot be used are told, not fatal."""

import csv
import hashlib
import io
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.counting import counted
from pipeline.detectors.base import Detector
from pipeline.drawing import colour_scale, reaching, side_by_side
from pipeline.files.alone import alone_in
from pipeline.files.durable import growing, write_or_remove
from pipeline.files.folders import files_below
from pipeline.files.spreadsheet import cell
from pipeline.replica.single import judge
from pipeline.training.figures.shelf import MapShelf
from pipeline.training.images.data import SUFFIXES, DataError, how_stored, is_named, listed, read_frame
from pipeline.training.images.layouts import MASK_FOLDERS
from pipeline.training.track import Track, untracked

MapFormat = Literal["png", "npy", "none"]
_LEVELS = 65535
_LONGEST = 255 - len(".png")
"""Bytes of a file's name to which an ending can be added."""
_MAPS, _OVERLAYS = "maps", "overlays"
TABLE = "results.csv"


@dataclass(frozen=True)
class Line:
    """What is said of one image."""

    file: str
    """Relative to the folder."""
    error: str = ""
    verdict: str = ""
    score: float | None = None
    threshold: float | None = None
    doubts: tuple[str, ...] = ()
    features: dict[str, float] | None = None
    map_low: float | None = None
    """What 0 stands for in the 16-bit map."""
    map_high: float | None = None
    """What 65535 stands for."""
    drawn_as: str | None = None
    """What its map and overlay are named by in place of `file`, where that leaves no room for their endings."""

    def as_dict(self) -> dict[str, Any]:
        facts = {name: value for name, value in vars(self).items() if value is not None and name != "error"}
        return {"file": self.file, "error": self.error} if self.error else facts


def images_below(
    folder: Path, but_for: Sequence[Path] = (), say: Callable[[str], None] = lambda note: None
) -> list[Path]:
    """PNG and JPEG files in the folder and its sub-folders, by path, but for those below other folders, and for masks,
    by where they lie: the folder may hold several data sets. say: is told how many of these there are.

    Links to folders are followed. Raises DataError when there are none.
    """
    if folder.is_file():
        raise DataError(f"{folder} is a file: give the folder that it lies in")
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}")
    found = sorted(path for path in map(Path, files_below(folder, and_lost=True)) if is_named(path, SUFFIXES))
    # Not `Path.resolve`, which a link that leads back to itself ends: whoever reads it says so.
    others = [os.path.realpath(other) for other in but_for]
    kept = [path for path in found if not any(Path(os.path.realpath(path)).is_relative_to(other) for other in others)]
    if found and not kept:
        raise DataError(
            f"all {len(found)} images in {folder} lie in {' or '.join(map(str, but_for))}, where pictures are written "
            "to: give another --out"
        )
    if not kept:
        raise DataError(f"{folder} holds no PNG or JPEG, nor does a folder below it")
    masks = {path for path in kept if _is_mask(path.relative_to(folder))}
    if len(masks) == len(kept):
        raise DataError(f"all images in {folder} lie in folders of masks: give the folder that the images lie in")
    if masks:
        say(f"note: {counted(len(masks), 'image')} in folders of masks ({', '.join(MASK_FOLDERS)}) left out")
    return [path for path in kept if path not in masks]


def _is_mask(path: Path) -> bool:
    return any(part.lower() in MASK_FOLDERS for part in path.parent.parts)  # VisA writes Masks


def predict_folder(
    detector: Detector,
    folder: Path,
    out: Path,
    maps: MapFormat = "png",
    overlays: bool = True,
    track: Track = untracked,
    say: Callable[[str], None] = lambda note: None,
) -> list[Line]:
    """Writes results.csv and results.jsonl, maps/… and overlays/… with the images' own paths below `out`.

    The results grow line by line under their names with .part, which they lose with the last line: a large set takes
    hours, and whoever is stopped keeps what was found. Maps have the model's own grid: 16-bit PNG between the image's
    own extremes, or the raw float32 as .npy. Overlays share one scale of colours, but for maps that
    peak far beyond it. say: is told what a person should know of the images, before they are scored. Raises DataError
    when there is nothing to predict, AndonError where another process is writing there.
    """
    # They may lie in the folder, with the pictures of last time.
    paths = images_below(folder, (out / _MAPS, out / _OVERLAYS), say)
    for note in how_stored(paths).on_a_model(detector.info.input.mode):
        say(f"note: {note}")
    lines: list[Line] = []
    with alone_in(out, "another `andon predict` writes its results"), MapShelf() as shelf:
        with _tables(out, detector) as write:  # first: what the pictures are of, should they fill the disk
            for number in track(range(len(paths)), "scoring"):
                line, anomaly_map = _line(detector, paths[number], folder)
                write(line)
                lines.append(line)
                if anomaly_map is not None:
                    shelf.put(number, anomaly_map)
        written = [number for number, line in enumerate(lines) if line.map_high is not None]
        if maps != "none":
            for step in track(range(len(written)), "writing maps"):
                _write_map(out / _MAPS / _place(lines[written[step]]), shelf.get(written[step]), maps)
        if overlays:
            gone = _draw(detector, paths, lines, shelf, out / _OVERLAYS, track)
            if gone:
                say(f"note: no overlay of {listed(gone)}: scored, and could not be read again to be drawn")
    return lines


def _line(detector: Detector, path: Path, folder: Path) -> tuple[Line, NDArray[np.float32] | None]:
    name = path.relative_to(folder).as_posix()
    try:
        judged = judge(read_frame(path, detector.info.input.mode), detector)
    except DataError as error:
        return Line(name, error=str(error)), None
    found = judged.prediction
    short = _with_room(name)
    facts = Line(
        name,
        drawn_as=None if found is None or short == name else short,
        verdict=judged.verdict.value,
        score=None if found is None else float(found.scores[0]),
        threshold=detector.info.calibration.threshold,
        doubts=tuple(doubt.value for doubt in judged.doubts),
        features={} if found is None else {key: float(values[0]) for key, values in found.features.items()},
        map_low=None if found is None else _short(found.maps[0].min()),
        map_high=None if found is None else _short(found.maps[0].max()),
    )
    return facts, None if found is None else found.maps[0]


def _short(value: np.float32) -> float:
    """As it reads in single precision: 0.3, where the same bits in double are 0.30000001192092896."""
    return float(str(value))


def _with_room(name: str) -> str:
    """The same path, its last part cut where endings would make it too long, with a hash of what it was."""
    *folders, last = name.split("/")
    if len(os.fsencode(last)) <= _LONGEST:
        return name
    mark = "…" + hashlib.sha256(os.fsencode(last)).hexdigest()[:12]
    while len(os.fsencode(last + mark)) > _LONGEST:
        last = last[:-1]
    return "/".join((*folders, last + mark))


def _place(line: Line) -> str:
    return line.drawn_as or line.file


def _write_map(place: Path, anomaly_map: NDArray[np.float32], maps: MapFormat) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    # The image's whole name stays: a.png and a.jpg may lie side by side.
    content = io.BytesIO()
    if maps == "npy":
        np.save(content, anomaly_map, allow_pickle=False)
        write_or_remove(place.with_name(place.name + ".npy"), content.getvalue())
        return
    low, high = float(anomaly_map.min()), float(anomaly_map.max())
    levels = (anomaly_map.astype(np.float64) - low) / ((high - low) or 1.0) * _LEVELS
    Image.fromarray(np.round(levels).astype(np.uint16)).save(content, "PNG")
    write_or_remove(place.with_name(place.name + ".png"), content.getvalue())


def _draw(
    detector: Detector, paths: Sequence[Path], lines: Sequence[Line], shelf: MapShelf, place: Path, track: Track
) -> list[Path]:
    """Returns the images that were scored and cannot be read any more: cameras' folders are cleared meanwhile."""
    drawn = [number for number, line in enumerate(lines) if line.map_high is not None]
    if not drawn:
        return []
    scale = _scale([lines[number] for number in drawn])
    gone = []
    for step in track(range(len(drawn)), "drawing"):
        number = drawn[step]
        line = lines[number]
        facts = {"verdict": line.verdict, "score": str(line.score), "threshold": str(line.threshold)}
        try:
            pixels = read_frame(paths[number], detector.info.input.mode)
        except DataError:
            gone.append(paths[number])
            continue
        target = place / (_place(line) + ".jpg")
        target.parent.mkdir(parents=True, exist_ok=True)
        picture = io.BytesIO()
        anomaly_map = shelf.get(number)
        colours = reaching(scale, float(anomaly_map.max()))
        side_by_side(pixels, anomaly_map, facts, scale=colours).save(picture, "JPEG", quality=90)
        write_or_remove(target, picture.getvalue())
    return gone


def _scale(drawn: Sequence[Line]) -> tuple[float, float]:
    """Of colours, by the maps of those below the threshold, if there are any: beside damage they would be black."""
    usual = [line for line in drawn if _is_below(line)] or drawn
    lows, highs = ([getattr(line, end) for line in usual] for end in ("map_low", "map_high"))
    return colour_scale(lows, highs, max(line.map_high for line in drawn if line.map_high is not None))


def _is_below(line: Line) -> bool:
    return line.score is not None and line.threshold is not None and line.score < line.threshold


@contextmanager
def _tables(out: Path, detector: Detector) -> Iterator[Callable[[Line], None]]:
    """Takes line after line."""
    nothing = np.zeros((0, detector.info.input.height_px, detector.info.input.width_px), np.uint8)
    features = detector.predict(nothing).features
    columns = ["file", "verdict", "score", "threshold", "doubts", *features, "map_low", "map_high", "drawn_as", "error"]
    out.mkdir(parents=True, exist_ok=True)
    with growing(out / "results.jsonl") as records, growing(out / TABLE) as rows:
        table = csv.DictWriter(rows, columns, restval="")
        table.writeheader()

        def write(line: Line) -> None:
            records.write(json.dumps(line.as_dict()) + "\n")
            facts = {name: value for name, value in line.as_dict().items() if name in columns}
            row = {**facts, **(line.features or {}), "doubts": " ".join(line.doubts)}
            table.writerow({name: cell(value) for name, value in row.items()})

        yield write
