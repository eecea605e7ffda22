"""checkov finds nothing but what deploy/checkov.yaml leaves out with a reason. It is heavy: in its own environment."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from support import kube_tools
from support.charts import Mode, Render

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "deploy" / "checkov.yaml"
VERSION = "3.3.30"


@pytest.fixture(scope="module")
def checkov() -> Path:
    home = kube_tools.cache_folder() / f"checkov-{VERSION}"
    program = home / "bin" / "checkov"
    if not program.is_file():
        uv = str(Path(sys.executable).with_name("uv"))
        subprocess.run([uv, "venv", "--quiet", "--clear", str(home)], check=True, timeout=60)
        command = [uv, "pip", "install", "--quiet", "--python", str(home / "bin" / "python"), f"checkov=={VERSION}"]
        subprocess.run(command, check=True, timeout=200)
    return program


def test_it_finds_nothing_that_is_not_explained(checkov: Path, renders: dict[Mode, Render], tmp_path: Path) -> None:
    folder = tmp_path / "rendered"
    folder.mkdir()
    for mode, render in renders.items():
        if mode.chart == "factory":
            (folder / f"{mode.values}.yaml").write_text(render.text)
    for dockerfile in (ROOT / "deploy" / "docker").glob("*.Dockerfile"):
        shutil.copy(dockerfile, folder / f"Dockerfile.{dockerfile.stem}")
    done = subprocess.run(
        [str(checkov), "--config-file", str(CONFIG), "--directory", str(folder), "--output", "json"],
        capture_output=True, text=True, timeout=280, check=False, cwd=tmp_path,
        env={"HOME": str(tmp_path), "PATH": os.environ["PATH"]},
    )  # fmt: skip
    reports = json.loads(done.stdout)
    reports = reports if isinstance(reports, list) else [reports]
    assert {report["check_type"] for report in reports} == {"kubernetes", "dockerfile"}
    failed = [(c["check_id"], c["check_name"], c["resource"]) for r in reports for c in r["results"]["failed_checks"]]
    assert not failed
    assert sum(report["summary"]["passed"] for report in reports) > 500


def test_every_skip_has_a_reason() -> None:
    lines = CONFIG.read_text().splitlines()
    skips = [n for n, line in enumerate(lines) if line.strip().startswith("- CKV")]
    assert len(skips) == len(yaml.safe_load(CONFIG.read_text())["skip-check"])
    for n in skips:
        above = lines[n - 1].strip()
        assert above.startswith(("#", "- CKV")), lines[n]
