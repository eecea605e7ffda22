"""Runs a detector and the raw-image baselines over the test images of a data set."""

import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.counting import counted
from pipeline.detectors.base import Detector
from pipeline.detectors.bundle import BundleInfo
from pipeline.events import Doubt
from pipeline.frames import doubts_of_pixels, to_gray
from pipeline.training.figures.baselines import BASELINES
from pipeline.training.figures.evaluate import ImageMetrics, evaluate_images
from pipeline.training.figures.pixels import (
    PixelCounts,
    PixelMetrics,
    at_frame_size,
    choose_thresholds,
    count_pixels,
    pixel_metrics,
)
from pipeline.training.figures.shelf import MapShelf
from pipeline.training.images.copies import without_copies
from pipeline.training.images.data import (
    DataError,
    fingerprint,
    how_stored,
    listed,
    read_frame,
    read_mask,
    refuse,
    size_text,
)
from pipeline.training.images.layouts import GOOD, Layout, TestImage, find_layout, with_name
from pipeline.training.images.parts import parts_of
from pipeline.training.track import Track, untracked

_PIXELS_SAMPLED = 2_000_000
"""Of each kind, over all images: enough to place thresholds."""


@dataclass(frozen=True)
class ClassFigures:
    """One class of defects against all good images."""

    image: ImageMetrics
    pixel: PixelMetrics | None


@dataclass(frozen=True)
class Evaluation:
    """What was measured on images that nothing was fitted on."""

    data: str
    notes: tuple[str, ...]
    """What a reader of the figures should know."""
    detector: ImageMetrics
    pixel: PixelMetrics | None
    """None without masks."""
    per_class: Mapping[str, ClassFigures]
    baselines: Mapping[str, ImageMetrics]
    features: Mapping[str, ImageMetrics]
    """The raw features, each taken as a score of its own: what the judgement makes of them shows beside them."""
    ms_per_image: float
    """Median time of `predict` for a batch of one."""
    machine: str
    images: tuple[TestImage, ...]
    scores: NDArray[np.float64]
    """(N,), in the order of `images`."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON: the figures of the detector on top, everything else below."""
        return {
            **_figures(self.detector, self.pixel),
            "per_class": {kind: _figures(found.image, found.pixel) for kind, found in self.per_class.items()},
            "ms_per_image": self.ms_per_image,
            "machine": self.machine,
            "data": self.data,
            "notes": list(self.notes),
            "baselines": {name: _figures(found, None) for name, found in self.baselines.items()},
            "features": {name: _figures(found, None) for name, found in self.features.items()},
        }


def _figures(image: ImageMetrics, pixel: PixelMetrics | None) -> dict[str, Any]:
    names = {"auroc": "image_auroc", "aupr": "image_aupr", "f1_max": "image_f1max"}
    found: dict[str, Any] = {
        "image_auroc": image.auroc,
        "image_aupr": image.aupr,
        "image_f1max": image.f1_max,
        "f1": image.f1,
        "accuracy": image.accuracy,
        "precision": image.precision,
        "recall": image.recall,
        "false_alarm_rate": image.false_alarm_rate,
        "pixel_auroc": pixel.auroc if pixel else None,
        "aupro": pixel.aupro if pixel else None,
        "good": image.normals,
        "defective": image.defects,
        "intervals": {names.get(name, name): list(ends) for name, ends in image.intervals.items()},
    }
    if pixel:
        found["intervals"] |= {"pixel_auroc": list(pixel.intervals["auroc"]), "aupro": list(pixel.intervals["aupro"])}
    return found


def measure(
    detector: Detector,
    data: Path,
    machine: str,
    shelf: MapShelf,
    track: Track = untracked,
    masks: bool = True,
    same_part: int | None = None,
) -> Evaluation:
    """Scores the test images, one at a time, and leaves their maps on the shelf under their numbers.

    masks: whether pixels are evaluated, too. same_part: see `parts_of`; intervals are over parts then.

    Raises DataError that names every image and mask that cannot be used, or says which kind of images is missing.
    """
    data = with_name(data)
    layout, marked = _checked(data, detector.info, masks, track)
    images = layout.test
    looks: list[_Look] = []
    marks: dict[Path, float] = {}
    samples = _Samples(len(images))
    for number in track(range(len(images)), "scoring"):
        look, anomaly_map = _look(detector, images[number].path)
        looks.append(look)
        shelf.put(number, anomaly_map)
        if marked:
            mask = _mask_of(images[number])
            samples.add(at_frame_size(anomaly_map, *look.shape), mask)
            if mask is not None:
                marks[images[number].path] = float(mask.mean())

    scores = np.array([look.score for look in looks])
    is_defect = np.array([image.is_defect for image in images])
    kinds = np.array([image.kind for image in images])
    parts = parts_of([image.path for image in images], same_part)
    counts: list[PixelCounts] = []
    if marked:
        thresholds = samples.thresholds()
        for number in track(range(len(images)), "counting pixels"):
            values = at_frame_size(shelf.get(number), *looks[number].shape)
            counts.append(count_pixels(values, _mask_of(images[number]), thresholds))

    def figures(values: NDArray[np.float64], threshold: float | None = None, kind: str | None = None) -> ImageMetrics:
        defects = is_defect if kind is None else kinds == kind
        own = np.r_[parts[~is_defect], parts[defects]]
        return evaluate_images(values[~is_defect], values[defects], threshold, parts=own)

    def pixel_figures(kind: str | None = None) -> PixelMetrics | None:
        if not marked:
            return None
        taken = np.flatnonzero((kinds == kind) | ~is_defect) if kind else np.arange(len(counts))
        return pixel_metrics([counts[number] for number in taken], parts=parts[taken])

    threshold = detector.info.calibration.threshold
    return Evaluation(
        data=f"{data.name}: test",
        notes=(
            *layout.notes,
            *_notes(layout, detector.info, masks, marks if marked else None),
            *_notes_on_parts(parts, is_defect),
            *_notes_on_doubts(images, [look.doubts for look in looks]),
        ),
        detector=figures(scores, threshold),
        pixel=pixel_figures(),
        per_class={
            kind: ClassFigures(figures(scores, threshold, kind), pixel_figures(kind))
            for kind in dict.fromkeys(kinds[is_defect].tolist())
        },
        baselines={name: figures(np.array([look.baselines[name] for look in looks])) for name in BASELINES},
        features={name: figures(np.array([look.features[name] for look in looks])) for name in looks[0].features},
        ms_per_image=float(np.median([look.seconds for look in looks])) * 1e3,
        machine=machine,
        images=images,
        scores=scores,
    )


@dataclass(frozen=True)
class _Look:
    """What one look at a test image says."""

    score: float
    seconds: float
    features: Mapping[str, float]
    baselines: Mapping[str, float]
    doubts: Sequence[Doubt]
    shape: tuple[int, ...]


def _look(detector: Detector, path: Path) -> tuple[_Look, NDArray[np.float32]]:
    """And its map."""
    frame = read_frame(path, detector.info.input.mode)
    started = time.perf_counter()
    prediction = detector.predict(frame[None])
    seconds, gray = time.perf_counter() - started, to_gray(frame)
    look = _Look(
        score=float(prediction.scores[0]),
        seconds=seconds,
        features={name: float(values[0]) for name, values in prediction.features.items()},
        baselines={name: baseline(gray) for name, baseline in BASELINES.items()},
        doubts=doubts_of_pixels(gray, detector.info.calibration.quality),
        shape=gray.shape,
    )
    return look, prediction.maps[0]


def _checked(data: Path, info: BundleInfo, masks: bool, track: Track) -> tuple[Layout, bool]:
    """And whether defects are marked. Raises DataError: see `measure`."""
    layout = find_layout(data)
    marked = masks and any(image.mask for image in layout.test)
    try:
        if missing := _what_is_missing(layout, data):
            raise DataError(missing)
        check_images(layout.test, info, marked, track)
    except DataError as error:  # the mask that is missing may be one that fits no image, or be of the image turned
        turned = how_stored([image.path for image in layout.test]).on_turned()
        raise DataError("\n".join((str(error), *layout.notes, *turned))) from None
    return layout, marked


def _what_is_missing(layout: Layout, data: Path) -> str | None:
    good, bad = len(layout.test_normals), len(layout.test_defects)
    if good and bad:
        return None
    if not good and not bad:
        return f"{data} has no test images: put good ones into test/good and defective ones into test/<class of defect>"
    place = data if layout.name == "plain" else data / "test"
    if not good:
        defective = counted(bad, "defective image")
        return f"{place} has {defective} and no good ones: a test needs both. Put good ones into {place / GOOD}"
    said = f"{place} has {counted(good, 'good image')} and no defective ones: a test needs both."
    if layout.name == "plain" and data.name == GOOD:
        of_mvtec = data.parent.name in ("train", "test")
        root, classes = (data.parent.parent, data.parent.with_name("test")) if of_mvtec else (data.parent, data.parent)
        return f"{said} Give --data {root}, and put defective ones into {classes / '<class of defect>'}"
    if layout.name == "plain" and not (place / GOOD).is_dir():
        # Beside loose images folders are not read: which of them are of good parts, nobody says.
        return (
            f"{said} Move the good ones into {place / GOOD}, and put defective ones into {place / '<class of defect>'}"
        )
    return f"{said} Put defective ones into {place / '<class of defect>'}"


def check_images(images: Sequence[TestImage], info: BundleInfo, marked: bool, track: Track = untracked) -> None:
    """Opens every image and mask. Raises DataError that names each that is damaged, of a size that the model does not
    judge, without a mask where others have one, or with a mask of another size."""
    faults = []
    for number in track(range(len(images)), "checking"):
        fault = _fault(images[number], info, marked)
        if fault:
            faults.append(fault)
    refuse(faults, len(images))


def _fault(image: TestImage, info: BundleInfo, marked: bool) -> str | None:
    try:
        shape = read_frame(image.path, info.input.mode).shape
        if not info.input.accepts(*shape[:2]):
            return f"{image.path}: is {size_text(shape)}, and this model judges {info.input.describe()}"
        if not marked or not image.is_defect:
            return None
        if image.mask is None:
            return f"{image.path}: has no mask, though others have; add it, or measure without pixels (--no-masks)"
        mask = read_mask(image.mask)
    except DataError as error:
        return str(error)
    if mask.shape != shape[:2]:
        return f"{image.mask}: is {size_text(mask.shape)}, but its image is {size_text(shape)}"
    return None


def _notes(layout: Layout, info: BundleInfo, masks: bool, marks: Mapping[Path, float] | None) -> list[str]:
    """marks: None where no pixels were evaluated."""
    stored = how_stored([image.path for image in layout.test])
    notes = [*stored.on_turned(), *stored.on_a_model(info.input.mode)]
    if marks is not None:
        notes.extend(_notes_on_masks(marks))
    elif masks:
        notes.append("no masks of these images were found, so nothing is said about pixels")
    if copies := without_copies([image.path for image in layout.test])[1]:
        notes.append(
            f"{counted(len(copies), 'test image')} counted though copies of others, byte for byte: {listed(copies)}"
        )
    hashes = [fingerprint(path) for path in layout.test_normals]
    defects = {path: fingerprint(path) for path in layout.test_defects}
    for role, seen_for, of_good in (
        ("fitted_on", "that the model was fitted on: the figures are too good", "taught the model what is normal"),
        ("calibrated_on", "that the threshold was set by: the false alarm rate says nothing", "set the threshold"),
    ):
        known = set(info.training.get(role, ()))
        if seen := len(known.intersection(hashes)):
            notes.append(f"{seen} of {len(hashes)} good test images are images {seen_for}")
        if taken := [path for path, own in defects.items() if own in known]:
            notes.append(
                f"{len(taken)} of {len(defects)} defective test images {of_good}, as images of good parts: take them "
                f"out there and train anew, or out of the test: {listed(taken)}"
            )
    return notes


def _notes_on_masks(marks: Mapping[Path, float]) -> Iterator[str]:
    """Masks that hardly mean what they say."""
    if empty := [path for path, share in marks.items() if not share]:
        yield (
            f"{counted(len(empty), 'mask')} of defective images without a mark, which is what is 128 or brighter: "
            f"{listed(empty)}"
        )
    if wide := [path for path, share in marks.items() if share > 0.5]:
        yield (
            f"{len(wide)} of {counted(len(marks), 'mask')} call more than half of the image defective; invert them if "
            f"they mark the defect in black: {listed(wide)}"
        )


def _notes_on_parts(parts: NDArray[np.int64], is_defect: NDArray[np.bool_]) -> list[str]:
    if len(np.unique(parts)) == len(parts):
        return []
    good, bad = (len(np.unique(parts[chosen])) for chosen in (~is_defect, is_defect))
    return [f"the images show {good} good and {bad} defective parts: intervals are over parts"]


def _notes_on_doubts(images: Sequence[TestImage], doubts: Sequence[Sequence[Doubt]]) -> Iterator[str]:
    """Figures are of scores alone, and the stream never judges by the score of a frame that it doubts."""
    for kind, of_defects in (("defective", True), ("good", False)):
        own = [(image, found) for image, found in zip(images, doubts, strict=True) if image.is_defect is of_defects]
        doubted = [(image, found) for image, found in own if found]
        if doubted:
            reasons = ", ".join(dict.fromkeys(doubt.value for _, found in doubted for doubt in found))
            yield (
                f"{len(doubted)} of {len(own)} {kind} images are beyond the bundle's quality limits ({reasons}): the "
                f"stream calls them NOT_DECIDABLE, whatever they score: {listed(image.path for image, _ in doubted)}"
            )


def _mask_of(image: TestImage) -> NDArray[np.bool_] | None:
    return read_mask(image.mask) if image.mask and image.is_defect else None


class _Samples:
    """A bounded share of the pixels, evenly spaced."""

    def __init__(self, images: int) -> None:
        self._each = max(1, _PIXELS_SAMPLED // images)
        self._normal: list[NDArray[np.float32]] = []
        self._defective: list[NDArray[np.float32]] = []

    def add(self, values: NDArray[np.float32], mask: NDArray[np.bool_] | None) -> None:
        self._normal.append(self._some(values.ravel() if mask is None else values[~mask]))
        if mask is not None:
            self._defective.append(self._some(values[mask]))

    def _some(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        return values[:: max(1, -(-len(values) // self._each))].copy()

    def thresholds(self) -> NDArray[np.float32]:
        return choose_thresholds(np.concatenate(self._normal), np.concatenate(self._defective))


def machine_facts(device: str) -> str:
    """What the times were measured on."""
    import torch

    from pipeline.detectors.registry import torch_device

    chosen = torch_device(device)
    if chosen.type == "cuda":
        return torch.cuda.get_device_name(chosen)
    return f"CPU ({platform.machine()}, {counted(torch.get_num_threads(), 'thread')})"
