import subprocess
import sys

import pytest

pytestmark = pytest.mark.unit


def test_alerting_loads_no_torch_ray_or_redis() -> None:
    heavy = (
        "import sys, workers.commands.alerting, workers.commands.alarms; "
        "import workers.alerting.service, workers.alerting.asking, workers.alerting.display; "
        "print([m for m in ('torch', 'ray', 'redis', 'cv2', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
