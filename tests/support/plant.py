"""A whole plant for tests: Kafka, Valkey, a Ray Serve replica and an alerting worker, all real."""

import json
import os
import secrets
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from support.stream import picture, settings_for, wait_until

from pipeline.audit.accounting import CameraAccount
from pipeline.audit.take_stock import take_stock
from pipeline.detectors.null import make_null_bundle
from pipeline.events import Action, LineCommand
from pipeline.kafka.admin import ensure_topics
from pipeline.kafka.reading import read_to_end
from pipeline.settings import Settings
from workers.local.inference import Inference
from workers.local.kafka_broker import KafkaBroker
from workers.local.ports import LOOPBACK, free_ports
from workers.local.process import ChildProcess
from workers.local.valkey import Valkey

OK_LEVEL, NOT_OK_LEVEL = 60, 220


class WithDashboard(Inference):
    """Can be changed while it runs, as an application on a cluster can."""

    def _launch(self) -> ChildProcess:
        self._dashboard_port, self.metrics_port = free_ports(2)
        arguments = [str(self._config), str(self._dashboard_port), "--metrics-port", str(self.metrics_port)]
        command = [sys.executable, "-m", "workers.local.serve_process", *arguments]
        return ChildProcess(self.name, command, self.log, Path.cwd(), self._environment)

    def reconfigure(self, changes: Mapping[str, Any]) -> None:
        """`serve deploy` of the same application with other options."""
        self._write_config(changes)
        serve = str(Path(sys.executable).with_name("serve"))
        address = f"http://{LOOPBACK}:{self._dashboard_port}"
        subprocess.run(
            [serve, "deploy", "-a", address, str(self._config)],
            # A local Ray takes only requests that carry the token of ~/.ray.
            env={**os.environ, **self._environment, "RAY_AUTH_MODE": "token"},
            timeout=180,  # a second or two; on a machine that is busy with other things, over 60
            check=True,
        )


@dataclass
class Plant:
    folder: Path
    settings: Settings
    broker: KafkaBroker
    valkey: Valkey
    inference: WithDashboard
    environment: dict[str, str]

    def health(self) -> dict[str, Any]:
        """Of the replica. Raises OSError while there is none."""
        with urllib.request.urlopen(f"{self.inference.url}/healthz", timeout=60) as answer:
            found: dict[str, Any] = json.load(answer)
            return found

    def reconfigure(self, user_config: Mapping[str, Any], most_replicas: int = 1) -> None:
        self.inference.reconfigure(_deployment(user_config, most_replicas))

    def worker(self, name: str, *arguments: str) -> ChildProcess:
        command = [sys.executable, "-m", "workers", *arguments]
        log = self.folder / f"{name}-{secrets.token_hex(3)}.log"
        return ChildProcess(name, command, log, Path.cwd(), self.environment)

    def cameras(
        self, line: str, frames: int, fps: float | None, defects: range = range(0), count: int = 2, loop: bool = False
    ) -> ChildProcess:
        """A camera worker with a spool. All its cameras look at one line; the first sees the defects. loop: until it is
        stopped: what has to come while frames flow comes late on a busy machine."""
        folder = self.folder / line
        for number in range(count):
            images = folder / f"camera-{number}"
            images.mkdir(parents=True)
            for i in range(frames):
                level = NOT_OK_LEVEL if number == 0 and i in defects else OK_LEVEL
                (images / f"{i:06d}.png").write_bytes(picture(level, seed=i * 10 + number))
        config = {
            "when_full": "block",
            "spool": {"folder": str(folder / "spool"), "max_mib": 64},
            "cameras": [
                {
                    "camera_id": f"{line}-{number}",
                    "line_id": line,
                    "station_id": "s",
                    "recipe": "null",
                    "source": {"type": "folder", "path": str(folder / f"camera-{number}"), "fps": fps, "loop": loop},
                }
                for number in range(count)
            ],
        }
        path = folder / "cameras.yaml"
        path.write_text(yaml.safe_dump(config))
        return self.worker(f"cameras-{line}", "camera", "run", "--config", str(path))

    def accounts(self, line: str) -> list[CameraAccount]:
        return [account for account in take_stock(self.settings) if account.camera_id.startswith(f"{line}-")]

    def stop(self, cameras: ChildProcess, line: str) -> int:
        """Ends them in good order. How many frames they have captured."""
        cameras.stop(60)
        assert cameras.exit_code == 0, cameras.log_tail()
        return sum(account.captured for account in self.accounts(line))

    def settled(self, line: str, frames: int, timeout_s: float = 180) -> list[CameraAccount]:
        """The accounts of the line's cameras once that many frames are scored."""
        deadline = time.monotonic() + timeout_s
        while True:
            accounts = self.accounts(line)
            if sum(account.scored for account in accounts) >= frames and not any(a.in_flight for a in accounts):
                return accounts
            assert time.monotonic() < deadline, f"not settled in {timeout_s:g} s: {accounts}"
            time.sleep(1)  # each look reads all that the plant's topics hold

    def holds(self, line: str) -> list[LineCommand]:
        """Every HOLD record of the line in the raw topic."""
        records = read_to_end(self.settings, [self.settings.topics.line_commands.name])
        commands = [LineCommand.from_json(record.value) for record in records]
        return [command for command in commands if command.line_id == line and command.action is Action.HOLD]

    def wait_for_hold(self, line: str) -> None:
        wait_until(lambda: len(self.holds(line)) > 0)


@contextmanager
def running_plant(folder: Path) -> Iterator[Plant]:
    """Started in order, stopped in reverse. Raises ServiceError."""
    make_null_bundle(folder / "null", 32, 32)
    policies = folder / "policies.yaml"
    # A long max_age: here a late command is not the question, a lost or a doubled one is.
    policies.write_text(yaml.safe_dump({"defaults": {"k": 3, "n": 5, "action": "HOLD", "max_age_s": 600}}))
    changes = _deployment({"recipes": null_recipes(folder), "max_batch": 8})
    with (
        KafkaBroker(folder / "kafka", folder / "kafka.log") as broker,
        Valkey(folder / "valkey", folder / "valkey.log") as valkey,
    ):
        settings = settings_for(broker.bootstrap, "plant.", valkey.url)
        ensure_topics(settings, settings.topics)
        environment = {
            "KAFKA_BOOTSTRAP": broker.bootstrap,
            "REDIS_URL": valkey.url,
            "ANDON_TOPIC_PREFIX": "plant.",
            "ANDON_FRAME_PARTITIONS": "2",
            "ANDON_LINE_PARTITIONS": "2",
            "ANDON_HTTP_TOKEN": "of the plant",
        }
        with WithDashboard(folder, folder / "serve.log", environment, changes) as inference:
            plant = Plant(folder, settings, broker, valkey, inference, environment)
            alerting = plant.worker("alerting", "alerting", "run", "--policies", str(policies))
            try:
                yield plant
            finally:
                alerting.stop(20)


def null_recipes(folder: Path) -> dict[str, Any]:
    return {"null": {"bundle": str(folder / "null"), "cameras": ["*"], "late_after_s": 600}}


def _deployment(user_config: Mapping[str, Any], most_replicas: int = 1) -> dict[str, Any]:
    """With room for a second replica on any machine, and a policy that takes any work at all for too much, so that a
    null detector is enough. Both from the start: Serve replaces all replicas where they change."""
    policy = {
        "policy_function": "pipeline.autoscaling:ByBacklog",
        "policy_kwargs": {"catch_up_s": 1, "target_busy": 0.001},
    }
    autoscaling = {
        "min_replicas": 1,
        "max_replicas": most_replicas,
        "look_back_period_s": 2,
        "upscale_delay_s": 0,
        "downscale_delay_s": 1,
        "policy": policy,
    }
    return {
        "num_replicas": None,
        "autoscaling_config": autoscaling,
        "ray_actor_options": {"num_cpus": 0.1},
        "user_config": user_config,
    }
