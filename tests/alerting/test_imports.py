import subprocess
import sys

import pytest

pytestmark = pytest.mark.unit


HEAVY = ("torch", "ray", "redis", "cv2", "numpy", "pymodbus", "asyncua", "paho")


def test_alerting_loads_no_torch_ray_or_redis_and_no_protocol_that_no_line_uses() -> None:
    code = (
        "import sys, workers.commands.alerting, workers.commands.alarms, workers.commands.plc; "
        "import workers.alerting.service, workers.alerting.people.asking, workers.alerting.people.audit_log; "
        "import workers.alerting.people.streams, workers.alerting.people.display; "
        f"print([m for m in {HEAVY} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_what_decides_on_a_stop_can_reach_neither_kafka_nor_a_plc() -> None:
    code = (
        "import importlib, pkgutil, sys, workers.alerting.core as core\n"
        "for module in pkgutil.iter_modules(core.__path__): importlib.import_module(f'{core.__name__}.{module.name}')\n"
        "print([name for name in sys.modules if name.startswith(('kafka', 'pipeline.kafka', 'workers.alerting.plcs', "
        "'workers.alerting.worker', 'prometheus_client'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
