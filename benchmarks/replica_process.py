"""A replica in a process of its own that tells how much memory it holds:
`python -m benchmarks.replica_process BUNDLE FRAMES EVERY`. Prints one JSON line for each EVERY frames.
"""

import json
import os
import sys
from pathlib import Path

from benchmarks.machine import rss_mb
from benchmarks.replica import run_replica
from pipeline.replica.recipes import Recipe, load_catalog
from pipeline.settings import read_settings


def main() -> None:
    bundle, frames, every = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    seen, due = 0, every

    def on_batch(size: int) -> bool:
        nonlocal seen, due
        seen += size
        if seen >= due:
            print(json.dumps({"frames": seen, "rss_mb": round(rss_mb(os.getpid()), 2)}), flush=True)
            due += every
        return seen >= frames

    run_replica(read_settings(), load_catalog({"null": Recipe(bundle=str(bundle), cameras=("*",))}), on_batch)


if __name__ == "__main__":
    main()
