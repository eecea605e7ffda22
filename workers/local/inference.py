"""Ray and the Serve application on this machine."""

import os
import sys
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from workers.local.errors import ServiceError
from workers.local.ports import LOOPBACK, free_ports
from workers.local.process import ChildProcess
from workers.local.server import LocalServer

# What a company's proxy answers for 127.0.0.1 is nothing of ours, and `http_proxy` often comes without `no_proxy`.
_DIRECTLY = urllib.request.build_opener(urllib.request.ProxyHandler({}))
SERVE_CONFIG = Path(__file__).with_name("serve.yaml")
"""deploy/serve/local.yaml is a link to it: an installed package has no deploy/."""


class Inference(LocalServer):
    """`deploy/serve/local.yaml`, on a Ray of its own and a free port."""

    name = "Ray Serve"
    _stop_grace_s = 60.0
    _start_timeout_s = 240.0  # Ray and torch start slowly on a machine that is busy with other things
    _advice = "If the machine is short of memory or very busy, free it and start again"

    def __init__(
        self,
        folder: Path,
        log: Path,
        environment: Mapping[str, str],
        changes: Mapping[str, Any] | None = None,
    ) -> None:
        """folder: where the derived Serve config is written. changes: of the deployment's options."""
        super().__init__()
        (self.port,) = free_ports(1)
        self.log = log
        self._environment = environment
        self._config = folder / "serve.yaml"
        folder.mkdir(parents=True, exist_ok=True)
        self._write_config(changes or {})

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def _writes_in(self) -> tuple[Path, ...]:
        """Ray has its sockets and logs in a folder for temporary files, which may be another disk."""
        return (self.log.parent, Path(os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"))

    def score(self, recipe: str, image: bytes) -> None:
        """Has one image judged by HTTP, and waits for it. Raises ServiceError."""
        token = {**os.environ, **self._environment}.get("ANDON_HTTP_TOKEN")
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        request = urllib.request.Request(f"{self.url}/score/{recipe}", image, headers)
        try:
            with _DIRECTLY.open(request, timeout=60) as answer:
                answer.read()
        except OSError as error:
            raise ServiceError(f"{request.full_url} does not answer: {error}; see {self.log}") from error

    def _write_config(self, changes: Mapping[str, Any]) -> None:
        config = yaml.safe_load(SERVE_CONFIG.read_text(encoding="utf-8"))
        config["http_options"] = {"host": LOOPBACK, "port": self.port}
        config["applications"][0]["deployments"][0] |= changes
        self._config.write_text(yaml.safe_dump(config), encoding="utf-8")

    def _launch(self) -> ChildProcess:
        command = [sys.executable, "-m", "workers.local.serve_process", str(self._config)]
        return ChildProcess(self.name, command, self.log, Path.cwd(), self._environment)

    def _answers(self, timeout_s: float) -> bool:
        try:
            with _DIRECTLY.open(f"{self.url}/healthz", timeout=timeout_s) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False
