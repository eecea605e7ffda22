"""A whole plant: cameras, a Serve replica, alerting and a simulated PLC, each a process of its own."""

import json
import os
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import yaml

from benchmarks.arrivals import frames_arrived
from benchmarks.attendant import Attendant
from benchmarks.contest import Say
from benchmarks.pictures import Mixed
from benchmarks.replica import POLL_SIZE
from benchmarks.sections.pipeline_over_detector import BUNDLE, RECIPE
from benchmarks.stage import Stage, environment
from pipeline.events import Score, now
from pipeline.kafka.reading import read_to_end
from pipeline.replica.recipes import Recipe
from pipeline.settings import Settings
from workers.local.inference import Inference
from workers.local.ports import accepts_connections, free_ports
from workers.local.process import ChildProcess

LINES = [f"line-{number}" for number in range(1, 9)]
REPLICA_CPUS = 1
MAX_AGE_S = 10.0
"""The default of a policy. What is older stops no line."""
SETTLE_S = 10.0
_START_S = 60.0
_DRAIN_S = 300.0
_ANSWERS_S = 3.0


@dataclass(frozen=True)
class Shift:
    """What one run of the cameras was."""

    cameras: int
    began: datetime
    ended: datetime
    """When the cameras stopped; what they had captured was scored later, if it waited."""

    @property
    def settled(self) -> datetime:
        """From here on the cameras, which began at once, have parted."""
        return self.began + min(timedelta(seconds=SETTLE_S), (self.ended - self.began) / 4)


class WholePlant:
    def __init__(self, stage: Stage, settings: Settings, inference: Inference, attendant: Attendant, pictures: Mixed):
        self.settings = settings
        self.attendant = attendant
        self._stage = stage
        self._inference = inference
        self._folder = stage.folder / "plant"
        self._pictures = pictures
        self._shifts = 0

    def shift(self, cameras: int, frames_per_s: float | None, seconds: float | None, limit: int | None = None) -> Shift:
        """Runs so many cameras, of all together so many frames a second; then waits until every frame has an end.

        frames_per_s: None for as fast as Kafka takes them, until each camera has sent
        `limit` frames. Raises RuntimeError.
        """
        self._shifts += 1
        config = self._folder / f"cameras-{self._shifts}.yaml"
        config.write_text(yaml.safe_dump(self._cameras(cameras, frames_per_s, limit)))
        command = [sys.executable, "-m", "workers", "camera", "run", "--config", str(config)]
        if seconds is not None:
            command += ["--seconds", str(seconds)]
        began = now()
        child = ChildProcess("cameras", command, self._folder / "cameras.log", Path.cwd(), environment(self.settings))
        try:
            deadline = time.monotonic() + (seconds or 0) + _START_S
            while child.running and time.monotonic() < deadline:
                time.sleep(0.05)
            if child.running or child.exit_code:
                raise RuntimeError(f"the cameras did not end well:\n{child.log_tail()}")
        finally:
            child.stop(10)
        ended = now()
        self._drain()
        return Shift(cameras, began, ended)

    def scores(self, since: datetime) -> list[Score]:
        records = read_to_end(self.settings, [self.settings.topics.scores.name])
        return [score for record in records if (score := Score.from_json(record.value)).captured_at >= since]

    def _drain(self) -> None:
        """Until every frame in the topic is scored or dead, and alerting had time to answer."""
        deadline = time.monotonic() + _DRAIN_S
        arrived = frames_arrived(self.settings)
        while self._records() < arrived:
            if time.monotonic() > deadline:
                raise RuntimeError(f"the replica did not finish {arrived} frames in {_DRAIN_S:g} s")
            time.sleep(0.25)
        time.sleep(_ANSWERS_S)

    def _records(self) -> int:
        with urllib.request.urlopen(f"{self._inference.url}/healthz", timeout=30) as answer:
            return int(json.load(answer)["records"])

    def _cameras(self, count: int, frames_per_s: float | None, limit: int | None) -> dict[str, object]:
        cameras = []
        for number in range(count):
            source: dict[str, object] = {"type": "folder", "path": str(self._folder_of(number)), "loop": True}
            if limit is not None:
                source["limit"] = limit
            if frames_per_s is not None:
                # Cameras run freely: all begin at once, and no two have the same pace, so they soon part.
                source["fps"] = frames_per_s / count * (0.75 + 0.5 * number / max(1, count - 1))
            cameras.append(
                {
                    "camera_id": f"cam-{number}",
                    "line_id": LINES[number % len(LINES)],
                    "station_id": "s1",
                    "recipe": RECIPE,
                    "source": source,
                }
            )
        return {"cameras": cameras}

    def _folder_of(self, number: int) -> Path:
        """Good and bad parts in turns, each camera from another place on."""
        folder = self._folder / f"cam-{number}"
        if not folder.exists():
            folder.mkdir(parents=True)
            for at, path in enumerate(self._pictures.in_turns(number)):
                os.link(path, folder / f"{at:04d}{path.suffix}")
        return folder


@contextmanager
def whole_plant(stage: Stage, pictures: Mixed, say: Say) -> Iterator[WholePlant]:
    folder = stage.folder / "plant"
    folder.mkdir(exist_ok=True)
    (modbus_port,) = free_ports(1)
    policies = folder / "policies.yaml"
    policies.write_text(yaml.safe_dump(_policies(modbus_port)))
    recipe = Recipe(bundle=BUNDLE, cameras=("*",))
    changes = {
        "ray_actor_options": {"num_cpus": REPLICA_CPUS},
        "user_config": {"recipes": {RECIPE: recipe.model_dump(mode="json")}, "max_batch": POLL_SIZE},
    }
    with stage.topics() as settings, ExitStack() as ends:
        say("starting the PLC, alerting and Ray Serve")
        plc = ["plc", "run", "--plain", "--modbus-port", str(modbus_port)]
        plc += [part for line in LINES for part in ("--line", line)]
        ends.enter_context(_worker("plc", plc, folder, settings))
        _await(lambda: accepts_connections(modbus_port), "the simulated PLC")
        ends.enter_context(_worker("alerting", ["alerting", "run", "--policies", str(policies)], folder, settings))
        inference = ends.enter_context(
            Inference(folder / "serve", folder / "serve.log", environment(settings), changes)
        )
        attendant = ends.enter_context(Attendant(settings, modbus_port, LINES))
        plant = WholePlant(stage, settings, inference, attendant, pictures)
        say("the first frames: everything is set up by them")
        plant.shift(len(LINES), None, None, limit=4)
        if not attendant.replies:
            raise RuntimeError(f"no stop was read back from the PLC; see the logs in {folder}")
        yield plant


@contextmanager
def _worker(name: str, arguments: Sequence[str], folder: Path, settings: Settings) -> Iterator[ChildProcess]:
    command = [sys.executable, "-m", "workers", *arguments]
    child = ChildProcess(name, command, folder / f"{name}.log", Path.cwd(), environment(settings))
    try:
        yield child
    finally:
        child.stop(20)


def _await(ready: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _START_S
    while not ready():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what} did not start in {_START_S:g} s")
        time.sleep(0.1)


def _policies(modbus_port: int) -> dict[str, object]:
    """One bad part stops its line."""
    actuator = {"type": "modbus", "host": "127.0.0.1", "port": modbus_port, "block": 0}
    coils = {"stop": 0, "run_permit": 1, "held": 8}
    return {
        "defaults": {"k": 1, "n": 1, "action": "HOLD", "max_age_s": MAX_AGE_S, "on_loss": "run-with-alarm"},
        "lines": {
            line: {"actuator": actuator | {"unit": unit, "coils": coils}} for unit, line in enumerate(LINES, start=1)
        },
    }
