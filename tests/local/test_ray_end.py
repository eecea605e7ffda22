"""A local Ray that lost a process it can't do without takes its starter and all of its processes along."""

import os
import signal
import subprocess
import sys

import pytest
from support.waiting import wait_until_gone

pytestmark = pytest.mark.cluster

STARTER = """
import time
import ray, ray._private.worker
from workers.local.lean_ray import without_helpers
from workers.local.patient_ray import with_patience
from workers.local.ray_end import end_with_ray

@ray.remote(num_cpus=0)
class Alone:
    async def pid(self):
        import os
        return os.getpid()

with without_helpers(), with_patience(120):
    ray.init(address="local", include_dashboard=False, object_store_memory=100 * 1024 * 1024, log_to_driver=False)
end_with_ray()
alone = Alone.remote()
pids = {name: processes[0].process.pid for name, processes in ray._private.worker._global_node.all_processes.items()}
print(ray.get(alone.pid.remote()), pids["raylet"], pids["gcs_server"], flush=True)
time.sleep(120)
"""


def test_nothing_outlives_a_ray_that_lost_its_raylet() -> None:
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert starter.stdout is not None
        actor, raylet, gcs = map(int, starter.stdout.readline().split())
        os.kill(raylet, signal.SIGKILL)
        _, said = starter.communicate(timeout=90)
    finally:
        starter.kill()
    assert starter.returncode == 1
    assert "Ray's raylet ended unexpectedly" in said
    wait_until_gone(actor, raylet, gcs)
