"""The way of a stop, from the capture of the part to the coil that is read back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import median
from typing import Any

from benchmarks.whole_plant import Shift, WholePlant
from pipeline.events import Action, CommandReply, LineCommand, Outcome, Score, Verdict
from pipeline.kafka.reading import read_to_end

SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "p99.9": 0.999}


@dataclass(frozen=True)
class Stops:
    """What one shift of the cameras led to."""

    to_coil_ms: Sequence[float]
    """Capture → read back, one for each stop that the PLC confirmed."""
    stages_ms: Mapping[str, float]
    """Median of each stage on the way of those."""
    frames: int
    bad: int
    """Frames that were NOT_OK."""
    latched: int
    """Bad frames that found their line stopped already: no news for the PLC, so no sample."""
    not_in_time: int
    """Bad frames that no stop followed although the line ran: too old, or not confirmed."""
    batch: float
    """How many frames the replica scored at once: of the batch that a frame finds itself in, the median."""
    to_score_ms: Sequence[float]
    """Capture → score of each frame, in the order of capture."""

    @property
    def percentiles_ms(self) -> dict[str, float]:
        return {name: round(percentile(self.to_coil_ms, share), 1) for name, share in SHARES.items()}

    def as_json(self) -> dict[str, Any]:
        return {
            "capture_to_coil_ms": self.percentiles_ms,
            "stops": len(self.to_coil_ms),
            "frames": self.frames,
            "bad": self.bad,
            "latched": self.latched,
            "not_in_time": self.not_in_time,
            "median_batch": self.batch,
            "median_stages_ms": self.stages_ms,
            "capture_to_score_ms": {
                name: round(percentile(self.to_score_ms, share), 1) for name, share in SHARES.items()
            },
        }


def stops_of(plant: WholePlant, shift: Shift) -> Stops:
    scores = sorted(plant.scores(shift.settled), key=lambda score: score.captured_at)
    by_frame = {(score.camera_id, score.captured_at): score for score in scores}
    topic = plant.settings.topics.line_commands.name
    commands = [LineCommand.from_json(record.value) for record in read_to_end(plant.settings, [topic])]
    replies = {
        reply.command_id: reply
        for reply in plant.attendant.replies
        if reply.outcome in (Outcome.ACCEPTED, Outcome.DUPLICATE) and reply.captured_at >= shift.settled
    }
    stops = [
        (by_frame[command.camera_id, command.captured_at], command, replies[command.command_id])
        for command in commands
        if command.action is Action.HOLD and command.command_id in replies
    ]
    bad = [score for score in scores if score.verdict is Verdict.NOT_OK]
    proved = {(command.camera_id, command.captured_at) for _, command, _ in stops}
    latched = sum(_stood_latched(score, stops) for score in bad if (score.camera_id, score.captured_at) not in proved)
    return Stops(
        to_coil_ms=[_ms(reply.captured_at, reply.observed_at) for _, _, reply in stops],
        stages_ms=_stages(stops),
        frames=len(scores),
        bad=len(bad),
        latched=latched,
        not_in_time=len(bad) - len(proved) - latched,
        batch=_median_batch(scores),
        to_score_ms=[_ms(score.captured_at, score.scored_at) for score in scores],
    )


def percentile(values: Sequence[float], share: float) -> float:
    """The value that this share of all does not exceed; NaN of nothing."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))] if values else float("nan")


_Stop = tuple[Score, LineCommand, CommandReply]


def _stood_latched(score: Score, stops: Sequence[_Stop]) -> bool:
    """Whether another stop of its line was on its way or stood when this score came. The attendant takes some time."""
    return any(
        command.line_id == score.line_id and 0 <= _ms(before.scored_at, score.scored_at) < 10_000
        for before, command, _ in stops
    )


def _stages(stops: Sequence[_Stop]) -> dict[str, float]:
    ways: dict[str, list[float]] = {}
    for score, command, reply in stops:
        way = {
            **{name: score.timings_ms.get(name, 0.0) for name in ("transit", "queue", "decode", "wait", "infer")},
            "score to command": _ms(score.scored_at, command.issued_at),
            "command to coil": _ms(command.issued_at, reply.observed_at),
        }
        for name, ms in way.items():
            ways.setdefault(name, []).append(ms)
    return {name: round(median(all_ms), 1) for name, all_ms in ways.items()}


def _median_batch(scores: Sequence[Score]) -> float:
    """Frames of one batch share the time of its network pass to the microsecond."""
    sizes: dict[float, int] = {}
    for score in scores:
        took = score.timings_ms.get("infer", 0.0)
        sizes[took] = sizes.get(took, 0) + 1
    return median(sizes[score.timings_ms.get("infer", 0.0)] for score in scores) if scores else 0.0


def _ms(start: datetime, end: datetime) -> float:
    return (end - start).total_seconds() * 1000
