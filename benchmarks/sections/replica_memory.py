"""Whether a replica that runs for long holds what it held at the beginning."""

import json
import sys
import time
from pathlib import Path

from benchmarks.contest import Say
from benchmarks.feed import feed
from benchmarks.findings import Finding, Goal, Relation
from benchmarks.pictures import tiny_pictures
from benchmarks.stage import Stage, environment
from pipeline.detectors.null import make_null_bundle
from workers.local.process import ChildProcess

_LIMIT_S = 400.0


def replica_memory_flat(stage: Stage, say: Say) -> list[Finding]:
    frames = stage.sized(20_000, 4_000)
    warm, every = frames // 5, frames // 20
    bundle = stage.folder / "null-tiny"
    make_null_bundle(bundle, 32, 32)
    with stage.topics() as settings:
        say(f"sending {frames} frames")
        feed(settings, tiny_pictures(50), frames, "null")
        say(f"scoring {frames} frames")
        command = [sys.executable, "-m", "benchmarks.replica_process", str(bundle), str(frames), str(every)]
        log = stage.folder / "replica.log"
        child = ChildProcess("replica", command, log, Path.cwd(), environment(settings))
        try:
            _await_end(child)
        finally:
            child.stop(10)
    series = [json.loads(line) for line in log.read_text().splitlines() if line.startswith('{"frames"')]
    start = next(sample for sample in series if sample["frames"] >= warm)
    end = series[-1]
    return [
        Finding(
            name="replica_memory_flat",
            measured=(end["rss_mb"] / start["rss_mb"] - 1) * 100,
            unit="%",
            goal=Goal(Relation.WITHIN, 5),
            how=" → ".join(f"{at['rss_mb']:.0f} MB at {at['frames'] / 1000:.0f} k" for at in series[3::4]),
            raw={"series": series},
        )
    ]


def _await_end(child: ChildProcess) -> None:
    deadline = time.monotonic() + _LIMIT_S
    while child.running:
        if time.monotonic() > deadline:
            raise RuntimeError(f"the replica did not finish in {_LIMIT_S:g} s:\n{child.log_tail()}")
        time.sleep(0.2)
    if child.exit_code:
        raise RuntimeError(f"the replica failed with exit code {child.exit_code}:\n{child.log_tail()}")
