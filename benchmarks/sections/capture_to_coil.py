"""How long after the picture was taken the coil of its line stands, through the whole plant and under load."""

from benchmarks.bare_batches import bare_batch_ms, torch_threads
from benchmarks.contest import Say
from benchmarks.findings import Finding, Goal, Relation
from benchmarks.pictures import Mixed, mixed_cells
from benchmarks.replica import POLL_SIZE
from benchmarks.sections.pipeline_over_detector import BUNDLE, RECIPE, bundle_named
from benchmarks.stage import Stage
from benchmarks.stops import Stops, stops_of
from benchmarks.stopwatch import rate_after_first_batch
from benchmarks.whole_plant import LINES, MAX_AGE_S, REPLICA_CPUS, WholePlant, whole_plant
from pipeline.events import to_ms
from pipeline.replica.recipes import Recipe, load_catalog

CAMERAS = 2 * len(LINES)
BATCHES = 3
PLUS_MS = 50
"""The goal: three times the bare scoring time of a batch as they were seen, and this."""


def capture_to_coil(stage: Stage, say: Say) -> list[Finding]:
    pictures, before_ms = bare(stage, say)
    found: dict[str, Stops] = {}
    with whole_plant(stage, pictures, say) as plant:
        capacity = capacity_of(plant, stage, say)
        for share, seconds in ((0.5, stage.sized(90, 30)), (0.8, stage.sized(50, 25))):
            say(f"{seconds} s at {share:.0%} of {capacity:.1f} frames/s")
            found[f"{share:.0%}"] = stops_of(plant, plant.shift(CAMERAS, share * capacity, seconds))
    # Before and after, and the faster counts: a machine that was busy with other things must not make the goal easy.
    after_ms = bare(stage, say)[1]
    bare_ms = {size: min(ms, after_ms[size]) for size, ms in before_ms.items()}
    return [
        _finding(load, stops, limit(bare_ms, stops.batch) if load == "50%" else None, bare_ms, capacity)
        for load, stops in found.items()
    ]


def bare(stage: Stage, say: Say) -> tuple[Mixed, dict[int, float]]:
    """The pictures, and what one batch of them takes without anything around: with the threads of a replica."""
    say("the detector alone")
    detector = load_catalog({RECIPE: Recipe(bundle=BUNDLE, cameras=("*",))}).recipes[RECIPE].detector
    with torch_threads(REPLICA_CPUS):
        pictures = mixed_cells(stage.folder, detector, 24)
        times = stage.sized(7, 3)
        return pictures, dict(bare_batch_ms(detector, pictures.good, (1, 2, 4, 8, POLL_SIZE), times))


def limit(bare_ms: dict[int, float], batch: float) -> float:
    """By the size of the batches. Later than the plant's own limit no stop is made at all."""
    size = min(size for size in bare_ms if size >= min(batch, POLL_SIZE))
    return min(BATCHES * bare_ms[size] + PLUS_MS, MAX_AGE_S * 1000)


def capacity_of(plant: WholePlant, stage: Stage, say: Say) -> float:
    """Frames/s that the whole plant scores when more wait than it can do."""
    frames = stage.sized(192, 96)
    say(f"capacity: {frames} frames at once")
    shift = plant.shift(CAMERAS, None, None, limit=frames // CAMERAS)
    scores = plant.scores(shift.began)
    sent_ms = max((to_ms(score.captured_at) for score in scores), default=0)
    # The first batches end while cameras still send.
    return rate_after_first_batch(at_ms for score in scores if (at_ms := to_ms(score.scored_at)) > sent_ms)


def _finding(load: str, stops: Stops, limit_ms: float | None, bare_ms: dict[int, float], capacity: float) -> Finding:
    of = stops.percentiles_ms
    stages = ", ".join(f"{name} {ms:.0f}" for name, ms in stops.stages_ms.items())
    return Finding(
        name=f"capture_to_coil, p99 at {load} of capacity",
        measured=of["p99"],
        unit="ms",
        goal=Goal(Relation.AT_MOST, round(limit_ms, 1)) if limit_ms else None,
        how=f"p50 {of['p50']:.0f}, p95 {of['p95']:.0f}, p99.9 {of['p99.9']:.0f} of {len(stops.to_coil_ms)} stops; "
        f"capacity {capacity:.1f} frames/s, median batch {stops.batch:g}; medians: {stages}",
        raw={**stops.as_json(), "capacity_frames_per_s": round(capacity, 2), "bare_batch_ms": bare_ms,
             "bundle": bundle_named(), "cameras": CAMERAS, "lines": len(LINES),
             "to_coil_ms": [round(ms, 1) for ms in stops.to_coil_ms]},
    )  # fmt: skip
