"""The process that holds a local Ray and the Serve application in it: `python -m workers.local.serve_process CONFIG`.

The same as `serve run CONFIG`, but it also drains and shuts down on SIGTERM, starts no dashboard (with it Ray's job
interface, which runs any code it is given), and keeps Ray's object store small, since frames never travel through it.
"""

import os
import signal
import sys
from pathlib import Path

os.environ.setdefault("RAY_worker_niceness", "0")  # Ray would give the scoring path the lowest priority

import ray
from ray.serve.scripts import run

_OBJECT_STORE_BYTES = 100 * 1024 * 1024


def main() -> None:
    config = Path(sys.argv[1])
    ray.init(
        address="local",
        include_dashboard=False,
        namespace="serve",
        object_store_memory=_OBJECT_STORE_BYTES,
        # Replicas shall import this very code, also where the package is not installed.
        runtime_env={"env_vars": {"PYTHONPATH": str(Path(__file__).parents[2])}},
    )
    # After ray.init, which sets handlers of its own that end the process at once.
    for ending in (signal.SIGTERM, signal.SIGINT):
        signal.signal(ending, signal.default_int_handler)
    run.main([str(config)], standalone_mode=False)


if __name__ == "__main__":
    main()
