"""Sets the stage: images in the order in which the cameras will see them, and the configuration files."""

import math
import os
import random
import shutil
from dataclasses import dataclass
from pathlib import Path

import yaml

from pipeline.training.images.elpv import lay_out

LINES = {"mono": "elpv-mono", "poly": "elpv-poly"}
"""Line → recipe. Each line makes one kind of solar cell."""
BURST_CAMERA = 0
"""The camera of each line that sees the burst of defective cells."""
BURST_STARTS_AT = 0.55
"""Of the way through that camera's frames."""
BURST = 12
"""Defective cells in a row, for each line."""
MAX_AGE_S = 60
"""On a laptop that also trains or compiles, scoring may lag; the demo shall still stop its lines."""
_SEED = 20261122


@dataclass(frozen=True)
class Options:
    frames: int = 400
    """Of all cameras together."""
    seconds: float | None = None
    """Ends the capture early."""
    cameras: int = 4
    """Per line."""
    fps: float | None = None
    """Per camera; None: what the machine can judge."""
    console: bool = True
    """Show the operator's page while it runs."""
    stay: bool = False
    """Keep everything up after the last frame until Ctrl-C, so that a person can act on the page."""

    @property
    def all_cameras(self) -> int:
        return self.cameras * len(LINES)

    @property
    def frames_per_camera(self) -> int:
        return math.ceil(self.frames / self.all_cameras)

    @property
    def all_frames(self) -> int:
        """At least `frames`: each camera has as many as the others."""
        return self.frames_per_camera * self.all_cameras


@dataclass(frozen=True)
class PlcPorts:
    """Of the simulated PLC. One line is driven by each protocol."""

    modbus: int
    opcua: int


@dataclass(frozen=True)
class Stage:
    folder: Path
    policies_file: Path
    cells: dict[str, list[Path]]
    """Good ones, by recipe."""
    planted: int
    """Defective cells among the images."""


def is_planted(part_id: str) -> bool:
    """Whether this part is one of the defective cells."""
    return "defective" in part_id


def set_stage(folder: Path, options: Options, plc: PlcPorts) -> Stage:
    """Lays out cells that the shipped bundles have never seen, good ones with one burst of defective ones per line.

    Which cells are taken is drawn by chance from all unseen ones, with a fixed seed; none is picked for its score.
    Raises DataError when the images are not installed.
    """
    shutil.rmtree(folder, ignore_errors=True)
    lay_out(folder / "cells")
    chance = random.Random(_SEED)
    planted = 0
    cells: dict[str, list[Path]] = {}
    for line, recipe in LINES.items():
        good = cells[recipe] = _shuffled(folder / "cells" / line / "test" / "good", chance)
        defective = _shuffled(folder / "cells" / line / "test" / "defective", chance)
        for number in range(options.cameras):
            target = folder / "frames" / camera_id(line, number)
            target.mkdir(parents=True)
            burst = range(0)
            if number == BURST_CAMERA:
                start = int(options.frames_per_camera * BURST_STARTS_AT)
                burst = range(start, min(start + BURST, options.frames_per_camera))
            for i in range(options.frames_per_camera):
                bad = i in burst
                cell = defective[i % len(defective)] if bad else good[(i * options.cameras + number) % len(good)]
                os.link(cell, target / f"{i:06d}-{'defective' if bad else 'good'}-{cell.name}")
            planted += len(burst)
    return Stage(folder, _write_policies(folder, plc), cells, planted)


def camera_id(line: str, number: int) -> str:
    return f"{line}-{number + 1}"


def _shuffled(folder: Path, chance: random.Random) -> list[Path]:
    cells = sorted(folder.iterdir())
    chance.shuffle(cells)
    return cells


def write_cameras(folder: Path, options: Options, fps: float) -> Path:
    """The configuration of the cameras that set_stage laid images out for."""
    cameras = [
        {
            "camera_id": camera_id(line, number),
            "line_id": line,
            "station_id": f"el-{number + 1}",
            "recipe": recipe,
            "part_id": "file",
            "source": {"type": "folder", "path": str(folder / "frames" / camera_id(line, number)), "fps": fps},
        }
        for line, recipe in LINES.items()
        for number in range(options.cameras)
    ]
    # `block`: a folder can wait, so nothing needs to be dropped when Kafka is slow.
    config = {
        "buffer_mib": 64,
        "when_full": "block",
        "spool": {"folder": str(folder / "spool"), "max_mib": 256},
        "cameras": cameras,
    }
    return _write(folder / "cameras.yaml", config)


def _write_policies(folder: Path, plc: PlcPorts) -> Path:
    modbus, opcua = LINES
    names = ("Command", "Stop", "RunPermit", "Epoch", "Heartbeat", "Held")
    keys = ("command", "stop", "run_permit", "epoch", "heartbeat", "held")
    actuators: dict[str, dict[str, object]] = {
        modbus: {
            "type": "modbus",
            "host": "127.0.0.1",
            "port": plc.modbus,
            "unit": list(LINES).index(modbus) + 1,
            "block": 0,
            "coils": {"stop": 0, "run_permit": 1, "held": 8},
        },
        opcua: {
            "type": "opcua",
            "url": f"opc.tcp://127.0.0.1:{plc.opcua}/andon",
            "nodes": {key: f"ns=2;s={opcua}.{name}" for key, name in zip(keys, names, strict=True)},
        },
    }
    content = {
        "defaults": {"k": 3, "n": 8, "action": "HOLD", "max_age_s": MAX_AGE_S, "on_loss": "hold-on-loss"},
        "lines": {line: {"actuator": actuator | {"timeout_s": 3}} for line, actuator in actuators.items()},
    }
    return _write(folder / "policies.yaml", content)


def _write(path: Path, content: object) -> Path:
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return path
