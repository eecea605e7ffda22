"""What a camera worker beside the cluster is started by."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer

from pipeline.settings import Settings
from workers.cli import app

pytestmark = pytest.mark.unit

EXAMPLES = Path(__file__).parents[2] / "deploy" / "examples"
UNIT = EXAMPLES / "andon-camera.service"


def started() -> list[str]:
    (line,) = [line for line in UNIT.read_text().splitlines() if line.startswith("ExecStart=")]
    return line.removeprefix("ExecStart=").split()


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    verify = shutil.which("systemd-analyze")
    if verify is None:
        pytest.skip("no systemd-analyze, which judges units")
    here = tmp_path / UNIT.name
    # It looks for the program and the user, which are the box's.
    here.write_text(UNIT.read_text().replace(started()[0], "/bin/true").replace("User=andon", "User=root"))
    done = subprocess.run(
        [verify, "verify", "--man=no", str(here)], capture_output=True, text=True, timeout=60, check=False
    )
    said = [line for line in done.stderr.splitlines() if UNIT.name in line]
    assert not said
    assert done.returncode == 0, done.stderr


def test_the_unit_runs_a_command_that_there_is() -> None:
    command: Any = typer.main.get_command(app)
    words = started()[1:]
    while words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words.pop(0)]
    assert command.name == "run"
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known


def test_its_environment_is_one_of_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = (EXAMPLES / "andon-camera.environment").read_text().splitlines()
    told = dict(line.split("=", 1) for line in lines if not line.startswith("#"))
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    settings = Settings()
    assert {name for name in told if name.lower() not in Settings.model_fields} == set()
    assert settings.kafka_bootstrap == told["KAFKA_BOOTSTRAP"]
    assert settings.andon_metrics_host == "0.0.0.0"
