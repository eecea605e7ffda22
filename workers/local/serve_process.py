"""The process that holds a local Ray and the Serve application in it:
`python -m workers.local.serve_process CONFIG [DASHBOARD_PORT]`.

The same as `serve run CONFIG`, but it also drains and shuts down on SIGTERM, and keeps Ray's object store small, since
frames never travel through it. Without a port there is no dashboard, hence no job interface, which runs any code it
is given; with one, `serve deploy -a http://127.0.0.1:PORT CONFIG` changes the application while it runs.
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
    config, dashboard_port = sys.argv[1], sys.argv[2:]
    ray.init(
        address="local",
        dashboard_host="127.0.0.1",
        dashboard_port=int(dashboard_port[0]) if dashboard_port else None,
        include_dashboard=bool(dashboard_port),
        namespace="serve",
        object_store_memory=_OBJECT_STORE_BYTES,
        # Replicas shall import this very code, also where the package is not installed.
        runtime_env={"env_vars": {"PYTHONPATH": str(Path(__file__).parents[2])}},
    )
    # After ray.init, which sets handlers of its own that end the process at once.
    for ending in (signal.SIGTERM, signal.SIGINT):
        signal.signal(ending, signal.default_int_handler)
    run.main([config], standalone_mode=False)


if __name__ == "__main__":
    main()
