"""The process that holds a local Ray and the Serve application in it:
`python -m workers.local.serve_process CONFIG [DASHBOARD_PORT] [--metrics-port PORT]`.

The same as `serve run CONFIG`, but it also drains and shuts down on SIGTERM and when its terminal is closed, ends when
its Ray does, and keeps Ray's object store small, since frames never travel through it. Without a port there is no
dashboard, hence no job interface, which runs any code it is given, and none of the processes that serve it; with one,
`serve deploy -a http://127.0.0.1:PORT CONFIG` changes the application while it runs. Without a port for metrics Ray
serves them at another at each start, and tells none.
"""

import argparse
import os
import signal
from contextlib import nullcontext
from pathlib import Path
from typing import Any

os.environ.setdefault("RAY_worker_niceness", "0")  # Ray would give the scoring path the lowest priority
# Replicas shall import this very code, also where the package is not installed. All of Ray inherits it: a runtime_env
# would keep the workers that Ray starts beforehand from being used.
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH")]))

import ray
from ray.serve.scripts import run

from workers.commands.ending import polite_signals
from workers.local.home_token import token_for_this_run
from workers.local.lean_ray import without_helpers
from workers.local.patient_ray import with_patience
from workers.local.ray_end import end_with_ray
from workers.local.ray_ports import with_ports_beforehand

_OBJECT_STORE_BYTES = 100 * 1024 * 1024
_START_S = 150.0
"""Below what `Inference` waits, so that a Ray that never comes up says so itself."""


def main() -> None:
    arguments = _arguments()
    dashboard_port = arguments.dashboard_port
    os.environ.update(token_for_this_run())
    # A terminal that is closed tells all that was begun in it. Ray's processes, which inherit this, would be gone
    # before a replica has drained.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    helpers = nullcontext() if dashboard_port else without_helpers()
    with helpers, with_ports_beforehand(), with_patience(_START_S):
        ray.init(
            address="local",
            dashboard_host="127.0.0.1",
            dashboard_port=dashboard_port,
            include_dashboard=bool(dashboard_port),
            _metrics_export_port=arguments.metrics_port,
            namespace="serve",
            object_store_memory=_OBJECT_STORE_BYTES,
        )
    ending = end_with_ray()

    def interrupt(number: int, frame: Any) -> None:
        if ending.is_set() and number != signal.SIGINT:
            return  # the end of a terminal may be told twice, and a supervisor may tell it after its SIGTERM
        ending.set()
        signal.default_int_handler(number, frame)

    # After ray.init, which sets handlers of its own that end the process at once.
    for each in (signal.SIGINT, *polite_signals()):
        signal.signal(each, interrupt)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
    run.main([arguments.config], standalone_mode=False)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m workers.local.serve_process", description="Serves on a Ray of its own."
    )
    parser.add_argument("config", help="Serve's configuration, such as deploy/serve/local.yaml")
    parser.add_argument("dashboard_port", nargs="?", type=int, help="of Ray's dashboard; none without it")
    parser.add_argument(
        "--metrics-port", type=int, help="where Prometheus finds Ray's metrics, at every address of the machine"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
