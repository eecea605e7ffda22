"""A camera box installs neither torch nor ray, and what speaks to cameras only where there are such."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.unit

HEAVY = {"av", "diffusers", "genicam", "harvesters", "ray", "scipy", "sklearn", "torch"}


def test_the_camera_worker_imports_nothing_heavy() -> None:
    code = (
        "import sys, workers.camera.worker, workers.camera.check, workers.commands.camera, workers.cli;"
        f"print(*({HEAVY!r} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == []
