import subprocess
import sys

import pytest

pytestmark = pytest.mark.unit


HEAVY = ("torch", "ray", "redis", "cv2", "numpy", "pymodbus", "asyncua", "paho")


def test_alerting_loads_no_torch_ray_or_redis_and_no_protocol_that_no_line_uses() -> None:
    code = (
        "import sys, workers.commands.alerting, workers.commands.alarms, workers.commands.plc; "
        "import workers.alerting.service, workers.alerting.asking, workers.alerting.audit_log; "
        "import workers.alerting.streams, workers.alerting.display; "
        f"print([m for m in {HEAVY} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
