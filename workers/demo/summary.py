"""A demo in numbers."""

import math
from dataclasses import asdict, dataclass
from typing import Any

from workers.demo.run import Run
from workers.demo.stage import BURST, LINES, MAX_AGE_S, is_planted
from workers.demo.view import percentile


@dataclass(frozen=True)
class Summary:
    """The keys of `--json`."""

    captured: int
    scored: int
    dropped: int
    dead: int
    in_flight: int
    not_ok: int
    alarms: int
    holds: int
    """HOLD commands in the topic; one for each line is right."""
    capture_to_score_ms: dict[str, float]
    capture_to_hold_ms: float
    """From the capture of the part that completed the evidence to the command; the slower line."""
    plc_stops_proved: int
    """Lines that ran, and stand stopped at the PLC by the coils that we read there ourselves."""
    capture_to_coil_ms: dict[str, float]
    """From the capture of the part that completed the evidence to the stop read back from the PLC, over the lines."""
    frames_per_s: float
    """Scored, from the first capture to the last score."""
    duplicates: int
    audit_balanced: bool
    lines_held: list[str]
    planted: int
    planted_found: int
    """Defective cells that were NOT_OK."""
    false_alarms: int
    """Good cells that were NOT_OK."""
    seconds_to_ready: float

    def to_dict(self) -> dict[str, object]:
        """For JSON, which has no NaN: null where nothing was measured."""
        return {name: _without_nan(value) for name, value in asdict(self).items()}


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nan(one) for name, one in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value


def failings(run: Run, summary: Summary) -> list[str]:
    """Why this demo is no success; nothing where it is one."""
    found = [] if summary.audit_balanced else ["not every frame is accounted for"]
    running = [line for line in LINES if line not in run.stopped or line not in summary.lines_held]
    if running:
        found.append(f"not stopped at the PLC: {', '.join(running)}")
    options = run.options
    slowest_s = summary.capture_to_score_ms["p99"] / 1000
    if running and slowest_s > MAX_AGE_S:
        found.append(
            f"frames waited {slowest_s:.0f} s for their scores, and after {MAX_AGE_S} s no line is stopped: this "
            f"machine is slow or busy now; --fps {run.fps / 2:.2g} offers it half"
        )
        return found
    whole = BURST * len(LINES)
    if running and summary.planted < whole:
        found.append(
            f"--frames {options.frames} leaves room for {summary.planted} of {whole} defective cells, of which some "
            "are always missed: give more"
        )
    elif running and options.seconds and summary.captured < options.all_frames:
        found.append(f"--seconds {options.seconds:g} ended the capture after {summary.captured} frames: give more")
    return found


def summarise(run: Run) -> Summary:
    watch, accounts = run.watch, run.accounts
    latencies = [seen.latency_ms for seen in watch.seen]
    bad = [seen for seen in watch.seen if seen.verdict == "NOT_OK"]
    found = sum(is_planted(seen.part_id) for seen in bad)
    first = min((seen.captured_at.timestamp() for seen in watch.seen), default=0.0)
    last = max((seen.captured_at.timestamp() + seen.latency_ms / 1000 for seen in watch.seen), default=0.0)
    holds = watch.holds
    coil_ms = [(proof.observed_at - proof.captured_at).total_seconds() * 1000 for proof in watch.proofs]
    delays_ms = [(hold.issued_at - hold.captured_at).total_seconds() * 1000 for hold in holds]
    return Summary(
        captured=sum(a.captured for a in accounts),
        scored=sum(a.scored for a in accounts),
        dropped=sum(sum(a.dropped.values()) for a in accounts),
        dead=sum(sum(a.dead.values()) for a in accounts),
        in_flight=sum(a.in_flight for a in accounts),
        not_ok=sum(a.not_ok for a in accounts),
        alarms=sum(len(line.alarms) for line in watch.lines.values()),
        holds=len(holds),
        capture_to_score_ms={"p50": percentile(latencies, 0.5), "p99": percentile(latencies, 0.99)},
        capture_to_hold_ms=max(delays_ms, default=float("nan")),
        plc_stops_proved=len(run.stopped),
        capture_to_coil_ms={"p50": percentile(coil_ms, 0.5), "p99": percentile(coil_ms, 0.99)},
        frames_per_s=round(len(watch.seen) / (last - first), 2) if last > first else 0.0,
        duplicates=sum(a.duplicates for a in accounts),
        audit_balanced=bool(accounts) and all(a.balanced for a in accounts),
        lines_held=sorted({hold.line_id for hold in holds}),
        planted=run.stage.planted,
        planted_found=found,
        false_alarms=len(bad) - found,
        seconds_to_ready=round(run.seconds_to_ready, 1),
    )
