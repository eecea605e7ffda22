"""What the stream costs around a real detector: broker, decoding, Redis, scores, commits."""

import time
from collections.abc import Sequence

import numpy as np

from benchmarks.contest import Contender, Say, in_turns
from benchmarks.feed import feed
from benchmarks.findings import Finding, Goal, Relation
from benchmarks.pictures import solar_cells
from benchmarks.replica import POLL_SIZE, replica_rate
from benchmarks.stage import Stage
from pipeline.detectors.base import Detector
from pipeline.frames import decode
from pipeline.replica.recipes import Recipe, load_catalog

RECIPE = "elpv-mono"
BUNDLE = "elpv-mono-radar"
GOAL = Goal(Relation.AT_LEAST, 0.85)


def pipeline_over_detector(stage: Stage, say: Say) -> list[Finding]:
    pictures = solar_cells(stage.folder, 64)
    catalog = load_catalog({RECIPE: Recipe(bundle=BUNDLE, cameras=("*",))})
    detector = catalog.recipes[RECIPE].detector
    frames = stage.sized(6 * POLL_SIZE, 2 * POLL_SIZE)
    detector_rate(detector, pictures, POLL_SIZE)  # the first pass sets things up
    with stage.topics() as settings:
        # One poll more than is timed: the watch stops when the next batch comes.
        feed(settings, pictures, frames + POLL_SIZE, RECIPE)
        replica = Contender("replica", lambda: replica_rate(settings, catalog, frames + 1))
        bare = Contender("detector alone", lambda: detector_rate(detector, pictures, frames))
        rates = in_turns((replica, bare), "frames/s", stage.sized(7, 2), say)
    facts = {"frames": frames, "batch": POLL_SIZE, "bundle": bundle_named()}
    return [rates.ratio("pipeline_over_detector", replica, bare, GOAL, **facts)]


def bundle_named() -> str:
    """With its hash: a bundle that is trained anew keeps its name."""
    info = load_catalog({RECIPE: Recipe(bundle=BUNDLE, cameras=("*",))}).recipes[RECIPE].detector.info
    return f"{BUNDLE} {info.model_hash}"


def detector_rate(detector: Detector, pictures: Sequence[bytes], frames: int) -> float:
    """Frames/s of the bare detector on frames that are decoded already, in batches like the replica's."""
    mode = detector.info.input.mode
    batches = [
        np.stack([decode(pictures[(start + i) % len(pictures)], mode) for i in range(POLL_SIZE)])
        for start in range(0, frames, POLL_SIZE)
    ]
    begun = time.perf_counter()
    for batch in batches:
        detector.predict(batch)
    return POLL_SIZE * len(batches) / (time.perf_counter() - begun)
