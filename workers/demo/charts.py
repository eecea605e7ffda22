"""The report's charts, as SVG files."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from pipeline.events import LineCommand
from workers.demo.stage import is_planted
from workers.demo.watch import Seen

_GOOD, _BAD, _LIMIT = "#3b76af", "#d1495b", "#222222"


def histogram(seen: Sequence[Seen], path: Path) -> None:
    """Scores of good and planted defective cells, with the threshold that the bundle carries."""
    axes = _axes(6.4, 3.0)
    scores = [one.score for one in seen if one.score is not None]
    bins = np.linspace(min(scores, default=0.0), max(scores, default=1.0) + 1e-9, 36)
    for planted, colour, label in ((False, _GOOD, "good cells"), (True, _BAD, "defective cells (planted)")):
        values = [one.score for one in seen if one.score is not None and is_planted(one.part_id) is planted]
        axes.hist(values, bins=list(bins), color=colour, alpha=0.75, label=f"{label}: {len(values)}")
    for threshold in sorted({one.threshold for one in seen}):
        axes.axvline(threshold, color=_LIMIT, linestyle="--", label=f"threshold {threshold:.4g}")
    axes.set_xlabel("anomaly score")
    axes.set_ylabel("frames")
    axes.legend(frameon=False, fontsize=8)
    _save(path)


def latency(seen: Sequence[Seen], holds: Sequence[LineCommand], started_at: datetime, path: Path) -> None:
    """Capture → score of every frame over time, and when each line was held."""
    axes = _axes(9.0, 3.0)
    lines = sorted({one.line_id for one in seen})
    for line_id, colour in zip(lines, (_GOOD, "#e09f3e", "#5b8e7d"), strict=False):
        own = [one for one in seen if one.line_id == line_id]
        x = [(one.captured_at - started_at).total_seconds() for one in own]
        axes.scatter(x, [one.latency_ms for one in own], s=8, color=colour, label=f"line {line_id}")
    for row, hold in enumerate(holds):  # one below the other: both lines are often held within a second
        axes.axvline((hold.issued_at - started_at).total_seconds(), color=_BAD, linewidth=1)
        at = ((hold.issued_at - started_at).total_seconds(), 0.97 - 0.08 * (row % max(1, len(lines))))
        axes.annotate(f" HOLD {hold.line_id}", at, xycoords=("data", "axes fraction"), color=_BAD, fontsize=8, va="top")
    axes.set_xlabel("seconds since the cameras started")
    axes.set_ylabel("capture → score, ms")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize=8, loc="lower left", bbox_to_anchor=(0, 1), ncols=max(1, len(lines)))
    _save(path)


def stages(seen: Sequence[Seen], path: Path) -> None:
    """Where the time goes: median and 99th percentile of each stage."""
    axes = _axes(9.0, 2.2)
    names = list(dict.fromkeys(name for one in seen for name, _ in one.timings_ms))
    values = {name: [ms for one in seen for stage, ms in one.timings_ms if stage == name] for name in names}
    y = np.arange(len(names))
    axes.barh(y + 0.2, [float(np.percentile(values[name], 50)) for name in names], 0.38, color=_GOOD, label="p50")
    axes.barh(y - 0.2, [float(np.percentile(values[name], 99)) for name in names], 0.38, color="#b8c9dc", label="p99")
    axes.set_yticks(y, names)
    axes.invert_yaxis()
    axes.set_xlabel("ms")
    axes.legend(frameon=False, fontsize=8)
    _save(path)


def _axes(width_in: float, height_in: float) -> Axes:
    axes = plt.subplots(figsize=(width_in, height_in), layout="constrained")[1]
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def _save(path: Path) -> None:
    plt.savefig(path)
    plt.close()
