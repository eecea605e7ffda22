"""The live view in the terminal."""

import time
from collections.abc import Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from workers.demo.watch import Watch, WatchedLine


def percentile(values: Sequence[float], share: float) -> float:
    """The value that this share of all is not above; NaN of nothing."""
    if not values:
        return float("nan")
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def live_view(watch: Watch, expected_frames: int) -> RenderableType:
    at = time.monotonic()
    table = Table(box=box.SIMPLE, padding=(0, 1))
    table.add_column("camera", no_wrap=True)
    for title in ("frames/s", "scored", "NOT_OK", "backlog", "p50 ms", "p99 ms"):
        table.add_column(title, justify="right", no_wrap=True)
    for camera_id, camera in sorted(watch.cameras.items()):
        latencies = list(camera.latencies_ms)
        p50, p99 = percentile(latencies, 0.5), percentile(latencies, 0.99)
        table.add_row(
            camera_id,
            f"{camera.scored_per_s(at):.1f}",
            str(camera.scored),
            f"[yellow]{camera.not_ok}" if camera.not_ok else "0",
            str(camera.backlog),
            f"{p50:.0f}",
            f"{p99:.0f}",
        )
    lines = [_line(line_id, line) for line_id, line in sorted(watch.lines.items())]
    progress = Table.grid(padding=(0, 2))
    bar = ProgressBar(total=expected_frames, completed=watch.finished, width=50)
    progress.add_row(bar, f"{watch.finished} of {expected_frames} frames")
    return Panel(Group(table, *lines, Text(), progress), title="Andon", subtitle="capture → score latency", width=88)


def one_line(watch: Watch, expected_frames: int) -> str:
    """For logs, where nothing can be redrawn."""
    not_ok = sum(camera.not_ok for camera in watch.cameras.values())
    held = sorted({hold.line_id for hold in watch.holds})
    proved = sorted(proof.line_id for proof in watch.proofs)
    return (
        f"{watch.finished} of {expected_frames} frames, {not_ok} NOT_OK, lines held: {', '.join(held) or 'none'}, "
        f"read back from the PLC: {', '.join(proved) or 'none'}"
    )


def _line(line_id: str, line: WatchedLine) -> Text:
    if line.holds:
        hold = line.holds[0]
        evidence = f"{hold.evidence.k} of {hold.evidence.n} parts NOT_OK at {hold.camera_id}"
        proof = line.proof
        took_ms = (proof.observed_at - proof.captured_at).total_seconds() * 1000 if proof else 0
        told = f"; the PLC stands stopped, {took_ms:.0f} ms after capture" if proof else ""
        return Text(f" ■ line {line_id}: HOLD, {evidence}{told}", style="bold white on red")
    if line.alarms:
        kinds = ", ".join(sorted({str(alarm.kind) for alarm in line.alarms.values()}))
        return Text(f" ▲ line {line_id}: ALARM, {kinds}", style="bold yellow")
    return Text(f" ● line {line_id}: running", style="green")
