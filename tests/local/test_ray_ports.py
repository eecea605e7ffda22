"""A local Ray starts however long its agents take."""

import signal
import subprocess
import sys

import pytest

pytestmark = pytest.mark.cluster

STARTER = """
import os, pathlib, signal, threading, time
import ray
from workers.local.lean_ray import without_helpers
from workers.local.patient_ray import with_patience
from workers.local.ray_ports import with_ports_beforehand

os.environ["OURS"] = mark = f"of-{os.getpid()}"
held, over = set(), threading.Event()

def hold():
    while not over.wait(0.02):
        for process in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                command = (process / "cmdline").read_bytes()
                agent = b"/dashboard/agent.py" in command or b"/agent/main.py" in command
                if agent and b"raylet/raylet" not in command and mark.encode() in (process / "environ").read_bytes():
                    os.kill(int(process.name), signal.SIGSTOP)
                    held.add(int(process.name))
            except OSError:
                continue

holding = threading.Thread(target=hold)
holding.start()

@ray.remote
def answer():
    return 42

try:
    with without_helpers(), with_ports_beforehand(), with_patience(120):
        ray.init(address="local", include_dashboard=False, object_store_memory=100 * 1024 * 1024, log_to_driver=False)
    until = time.monotonic() + 60
    while len(held) < 2 and time.monotonic() < until:  # the second may be begun last of all
        time.sleep(0.05)
    print(len(held), flush=True)
finally:
    over.set()
    holding.join()
    for agent in held:
        os.kill(agent, signal.SIGCONT)
print(ray.get(answer.remote()), flush=True)
ray.shutdown()
"""


def test_ray_starts_while_its_agents_stand_still() -> None:
    """As on a busy machine, where they take longer to be loaded than the raylet waits: it ended itself, and the start
    waited for it until its own time was over."""
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        said, _ = starter.communicate(timeout=240)
    finally:
        if starter.poll() is None:
            starter.send_signal(signal.SIGTERM)
            starter.wait(30)
    lines = said.split("\n")
    assert "2" in lines, said
    assert "42" in lines, said
