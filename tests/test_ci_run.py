"""`.ci/run`, with stand-ins for what it calls: they install nothing and run no tests."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

RUN = Path(__file__).parents[1] / ".ci" / "run"


@pytest.mark.parametrize(("apt_get", "missing_is"), [("exit 0", "a fault"), ("exit 100", "skipped")])
def test_where_all_was_installed_a_test_that_can_not_run_fails(tmp_path: Path, apt_get: str, missing_is: str) -> None:
    """A green CI had skipped whatever found no service."""
    programs, checkout = tmp_path / "bin", tmp_path / "checkout"
    programs.mkdir()
    (checkout / ".ci").mkdir(parents=True)
    shutil.copy(RUN, checkout / ".ci")
    for name, script in (("apt-get", apt_get), ("id", "echo 0"), ("make", 'echo "make $* CI=$CI"')):
        (programs / name).write_text(f"#!/bin/sh\n{script}\n")
        (programs / name).chmod(0o755)
    environment = os.environ | {"PATH": f"{programs}:{os.environ['PATH']}", "CI": ""}
    done = subprocess.run(
        ["bash", checkout / ".ci" / "run"], env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert f"make test ARGS=-rfEs CI={'true' if missing_is == 'a fault' else ''}\n" in done.stdout
    assert ("are skipped" in done.stdout) == (missing_is == "skipped")
