"""The pure step of the stream: a batch of records → scores, maps and dead letters.

No Ray and no sockets here. Every record of the batch comes out exactly once: as a `Score` or as a dead letter.
"""

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from pipeline.detectors.base import Detector, Prediction
from pipeline.events import (
    ContractError,
    DeadReason,
    Doubt,
    Frame,
    KafkaPosition,
    Score,
    now,
)
from pipeline.frames import (
    DOUBTS_OF_FACTS,
    FrameError,
    Mode,
    decode_frame,
    doubts_of_facts,
    doubts_of_picture,
)
from pipeline.kafka.records import Incoming
from pipeline.maps import MapEntry, map_key, thumbnail
from pipeline.replica.colours import Colours
from pipeline.replica.known_good import KnownGood
from pipeline.replica.ranks import rank
from pipeline.replica.recipes import Catalog, LoadedRecipe
from pipeline.replica.shadow import Look, Shadows
from pipeline.replica.sightings import Sightings, digest_of
from pipeline.telling import Every
from pipeline.tracing import child
from pipeline.verdicts import verdict_of

log = logging.getLogger(__name__)

_DETAIL_CHARACTERS = 2000
_TELL_AGAIN_S = 60.0
"""How often the log repeats that a model can take no batch."""

Pixels = Mapping[int, NDArray[np.uint8]]
"""Frames of one size, by their number in the batch."""


@dataclass(frozen=True)
class Dead:
    """A record that can't be scored."""

    record: Incoming
    reason: DeadReason
    detail: str
    """Cut: it may repeat what a hostile sender wrote, megabytes of it."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "detail", self.detail[:_DETAIL_CHARACTERS])


@dataclass(frozen=True)
class Scored:
    """What becomes of a batch, in the order of its records."""

    scores: tuple[Score, ...] = ()
    maps: tuple[MapEntry, ...] = ()
    dead: tuple[Dead, ...] = ()
    parents: tuple[str | None, ...] = ()
    """The trace context of each score's frame."""


@dataclass(frozen=True)
class _Opened:
    """A record whose frame could be decoded."""

    record: Incoming
    frame: Frame
    recipe: LoadedRecipe
    pixels: NDArray[np.uint8]
    stored: Mode
    digest: int
    thumbnail: bytes
    doubts: tuple[Doubt, ...]
    decode_ms: float


@dataclass
class Scorer:
    """`score` is a function of the batch, but for `sightings`, which only ever turns a score into a dead letter, for
    `shadows`, which may have no time to look, and for `known_good`, which only ever refuses a batch. `colours` only
    tells."""

    pool: Executor
    """Decodes in parallel: Pillow and numpy let go of the interpreter lock."""
    map_expires_at: Callable[[], datetime]
    sightings: Sightings = field(default_factory=Sightings)
    shadows: Shadows = field(default_factory=Shadows)
    known_good: KnownGood = field(default_factory=KnownGood)
    colours: Colours = field(default_factory=Colours)
    _telling_of_batches: Every = field(default_factory=lambda: Every(_TELL_AGAIN_S), init=False)

    def score(self, records: Sequence[Incoming], catalog: Catalog) -> Scored:
        """Raises ModelFailedError where the fault is the model's: no frame of the batch has an end then."""
        started, started_ms = time.perf_counter(), time.time() * 1000
        opened: list[_Opened] = []
        dead: list[Dead] = []
        for outcome in list(self.pool.map(lambda record: _open(record, catalog), records)):
            if isinstance(outcome, Dead) and outcome.reason is DeadReason.SCORING_FAILED:
                # Alone, now that all others are done: many at once may have been short of memory.
                outcome = _open(outcome.record, catalog)
            if isinstance(outcome, Dead):
                dead.append(outcome)
            elif self.sightings.contradicts(outcome.frame.frame_id, outcome.digest):
                detail = f"frame id {outcome.frame.frame_id} was used before, by a frame of other bytes"
                dead.append(Dead(outcome.record, DeadReason.DUPLICATE_SEQUENCE, detail))
            else:
                info = outcome.recipe.detector.info
                self.colours.look(outcome.frame.camera_id, outcome.stored, info.name, info.input.mode)
                opened.append(outcome)

        scores: dict[int, Score] = {}
        maps: dict[int, MapEntry] = {}
        for recipe, group in _by_recipe_and_size(opened):
            judged = {i: opened[i].pixels for i in group if Doubt.WRONG_SIZE not in opened[i].doubts}
            begun = time.perf_counter()
            found, failures = self._predict(recipe.detector, judged)
            infer_ms = (time.perf_counter() - begun) * 1000
            for i in group:
                if i in failures:
                    dead.append(Dead(opened[i].record, DeadReason.SCORING_FAILED, failures[i]))
                else:
                    wait_ms = (begun - started) * 1000 - opened[i].decode_ms
                    timings = {
                        "queue": started_ms - opened[i].record.timestamp_ms,
                        "decode": opened[i].decode_ms,
                        "wait": max(wait_ms, 0.0),
                        "infer": infer_ms,
                    }
                    scores[i], maps[i] = self._judge(opened[i], found.get(i), timings)
        self._add_shadows(opened, scores)
        in_order = sorted(scores)
        return Scored(
            tuple(scores[i] for i in in_order),
            tuple(maps[i] for i in in_order),
            tuple(dead),
            tuple(opened[i].frame.traceparent for i in in_order),
        )

    def _predict(self, detector: Detector, frames: Pixels) -> tuple[dict[int, Prediction], dict[int, str]]:
        """One pass for all; when it raises, one by one, so that a single frame can't take its neighbours along. One
        that fails then, too, is tried once more after the model has shown that it works: a GPU may have been short of
        memory for a moment.

        Returns predictions, and the errors of those that have none. Raises ModelFailedError.
        """
        found, failures = _pass(detector, frames)
        if failures and len(frames) > 1:
            error = next(iter(failures.values()))
            found, failures = _one_by_one(detector, frames)
            if not failures:
                self._tell_of_batches(detector, len(frames), error)
        if found:
            self.known_good.keep(detector, frames[max(found)])
        if failures:
            self.known_good.check(detector, next(iter(failures.values())))
            well, failures = _one_by_one(detector, {i: frames[i] for i in failures})
            found |= well
        return found, failures

    def _tell_of_batches(self, detector: Detector, frames: int, error: str) -> None:
        if self._telling_of_batches.due():
            log.warning(
                "model %r failed on %d frames at once (%s), and scored them one by one, which takes longer: if a GPU "
                "is short of memory, look who else fills it, or lower max_batch",
                detector.info.name,
                frames,
                error,
            )

    def _add_shadows(self, opened: Sequence[_Opened], scores: dict[int, Score]) -> None:
        """Last: every live verdict of the batch stands by now."""
        shadowed = [(i, shadow) for i in sorted(scores) if (shadow := opened[i].recipe.shadow) is not None]
        if not shadowed:
            return
        begun = time.perf_counter()
        found = self.shadows.judge(
            [
                Look(shadow, opened[i].pixels, tuple(doubt for doubt in opened[i].doubts if doubt in DOUBTS_OF_FACTS))
                for i, shadow in shadowed
            ]
        )
        waited_ms = round((time.perf_counter() - begun) * 1000, 3)
        for (i, _), shadow_score in zip(shadowed, found, strict=True):
            timings = {**scores[i].timings_ms, "shadow": waited_ms}
            scores[i] = scores[i].model_copy(update={"shadow": shadow_score, "timings_ms": timings})

    def _judge(
        self, opened: _Opened, prediction: Prediction | None, timings: dict[str, float]
    ) -> tuple[Score, MapEntry]:
        frame, info = opened.frame, opened.recipe.detector.info
        value = None if prediction is None else float(prediction.scores[0])
        threshold = info.calibration.threshold
        verdict = verdict_of(value, threshold, opened.doubts)
        model = opened.recipe.model
        key = map_key(frame.frame_id, model.hash)
        record = opened.record
        position = KafkaPosition(topic=record.topic, partition=record.partition, offset=record.offset)
        scored_at = now()
        transit_ms = record.timestamp_ms - frame.captured_at.timestamp() * 1000
        score = Score(
            frame_id=frame.frame_id,
            camera_id=frame.camera_id,
            line_id=frame.line_id,
            station_id=frame.station_id,
            boot_id=frame.boot_id,
            sequence=frame.sequence,
            part_id=frame.part_id,
            recipe=frame.recipe,
            captured_at=frame.captured_at,
            scored_at=scored_at,
            verdict=verdict,
            doubts=opened.doubts,
            score=value,
            threshold=threshold,
            rank=None if value is None else rank(value, info.calibration.score_quantiles),
            features={} if prediction is None else {name: float(v[0]) for name, v in prediction.features.items()},
            model=model,
            map_key=key,
            map_expires_at=self.map_expires_at(),
            timings_ms={name: round(ms, 3) for name, ms in {"transit": transit_ms, **timings}.items()},
            position=position,
            traceparent=child(frame.traceparent, f"score {model.hash}"),
        )
        facts = {
            "verdict": verdict.value,
            "score": "" if value is None else repr(value),
            "threshold": repr(threshold),
            "captured_at": frame.captured_at.isoformat(timespec="milliseconds"),
        }
        grid = None if prediction is None else prediction.maps[0]
        return score, MapEntry(key, frame.frame_id, grid, opened.thumbnail, facts, position)


def _open(record: Incoming, catalog: Catalog) -> _Opened | Dead:
    begun = time.perf_counter()
    if record.unreadable is not None:
        return Dead(record, DeadReason.UNREADABLE, record.unreadable)
    try:
        frame = Frame.from_headers(record.headers)
    except ContractError as error:
        return Dead(record, DeadReason.CONTRACT, str(error))
    if record.key != frame.camera_id.encode():
        return Dead(
            record, DeadReason.CONTRACT, f"the record's key is {record.key!r}, not the camera {frame.camera_id!r}"
        )
    recipe = catalog.find(frame.camera_id, frame.recipe)
    if recipe is None:
        known = ", ".join(sorted(catalog.recipes)) or "none"
        detail = f"camera {frame.camera_id!r} may not ask for recipe {frame.recipe!r}; recipes here: {known}"
        return Dead(record, DeadReason.UNKNOWN_CAMERA, detail)
    info = recipe.detector.info
    value = record.value or b""
    try:
        decoded = decode_frame(value, info.input.mode)
        pixels = decoded.pixels
        doubts = doubts_of_facts(frame, record.timestamp_ms, recipe.recipe.timing) + doubts_of_picture(pixels, info)
        digest, picture = digest_of(value), thumbnail(pixels)
    except FrameError as error:
        return Dead(record, error.reason, str(error))
    except Exception as error:
        # Raised here, it would end each replica that meets the frame. Ours as likely as the frame's, so it is no
        # UNDECODABLE: too many of these end a replica before it has buried all.
        return Dead(record, DeadReason.SCORING_FAILED, f"{type(error).__name__}: {error}")
    decode_ms = (time.perf_counter() - begun) * 1000
    return _Opened(record, frame, recipe, pixels, decoded.stored, digest, picture, tuple(doubts), decode_ms)


def _by_recipe_and_size(opened: Sequence[_Opened]) -> list[tuple[LoadedRecipe, list[int]]]:
    """What can share one network pass. A recipe whose bundle takes any size may see several in a batch."""
    groups: dict[tuple[str, tuple[int, ...]], list[int]] = defaultdict(list)
    for i, one in enumerate(opened):
        groups[one.recipe.name, one.pixels.shape].append(i)
    return [(opened[group[0]].recipe, group) for group in groups.values()]


def _pass(detector: Detector, frames: Pixels) -> tuple[dict[int, Prediction], dict[int, str]]:
    """All of them, or none."""
    if not frames:
        return {}, {}
    try:
        return dict(zip(frames, _split(detector.predict(np.stack(list(frames.values())))), strict=True)), {}
    except Exception as error:
        return {}, dict.fromkeys(frames, f"{type(error).__name__}: {error}")


def _one_by_one(detector: Detector, frames: Pixels) -> tuple[dict[int, Prediction], dict[int, str]]:
    found: dict[int, Prediction] = {}
    failures: dict[int, str] = {}
    for i, pixels in frames.items():
        well, badly = _pass(detector, {i: pixels})
        found |= well
        failures |= badly
    return found, failures


def _split(batch: Prediction) -> list[Prediction]:
    return [
        Prediction(
            batch.scores[i : i + 1], batch.maps[i : i + 1], {name: v[i : i + 1] for name, v in batch.features.items()}
        )
        for i in range(len(batch.scores))
    ]
