"""Ray and the Serve application on this machine."""

import sys
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from workers.local.ports import LOOPBACK, free_ports
from workers.local.process import ChildProcess
from workers.local.server import LocalServer

SERVE_CONFIG = Path(__file__).parents[2] / "deploy" / "serve" / "local.yaml"


class Inference(LocalServer):
    """`deploy/serve/local.yaml`, on a Ray of its own and a free port."""

    name = "Ray Serve"
    _stop_grace_s = 60.0
    _start_timeout_s = 240.0  # Ray and torch start slowly on a machine that is busy with other things
    _advice = "If the machine is short of memory or very busy, free it and start again"

    def __init__(
        self, folder: Path, log: Path, environment: Mapping[str, str], changes: Mapping[str, Any] | None = None
    ) -> None:
        """folder: where the derived Serve config is written. changes: of the deployment's options."""
        super().__init__()
        (self.port,) = free_ports(1)
        self.log = log
        self._environment = environment
        self._config = folder / "serve.yaml"
        config = yaml.safe_load(SERVE_CONFIG.read_text())
        config["http_options"] = {"host": LOOPBACK, "port": self.port}
        config["applications"][0]["deployments"][0] |= changes or {}
        folder.mkdir(parents=True, exist_ok=True)
        self._config.write_text(yaml.safe_dump(config))

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    def _launch(self) -> ChildProcess:
        command = [sys.executable, "-m", "workers.local.serve_process", str(self._config)]
        return ChildProcess(self.name, command, self.log, Path.cwd(), self._environment)

    def _answers(self, timeout_s: float) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/healthz", timeout=timeout_s) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False
