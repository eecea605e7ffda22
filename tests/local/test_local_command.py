"""`andon local up`, as someone at a terminal lives it."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.waiting import wait_until_gone

from pipeline.kafka.probe import broker_answers
from workers.local.redis_probe import redis_answers

pytestmark = pytest.mark.services

COMMAND = [sys.executable, "-c", "from workers.cli import main; main()", "local"]
ROOT = Path(__file__).parents[2]


def environment(home: Path, **more: str) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if name not in ("KAFKA_BOOTSTRAP", "REDIS_URL")}
    return clean | {"ANDON_HOME": str(home), "PYTHONPATH": str(ROOT)} | more


def andon_local(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], env=environment(home), capture_output=True, text=True, timeout=120)


@contextmanager
def up(home: Path, **more: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    """The running command, and what it told to export."""
    # A session of its own, as a terminal has: Ctrl-C reaches the whole process group. A shell that runs these tests in
    # the background has Ctrl-C ignored, and children inherit that.
    heard = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen(
            [*COMMAND, "up"], env=environment(home, **more), stdout=subprocess.PIPE, text=True, start_new_session=True
        )
    finally:
        signal.signal(signal.SIGINT, heard)
    try:
        assert process.stdout is not None
        lines = [process.stdout.readline().removeprefix("export ").strip() for _ in range(2)]
        assert all(lines), "`andon local up` ended before it told its addresses"
        yield process, dict(line.split("=", 1) for line in lines)
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=60)


def children_of(pid: int) -> list[int]:
    listings = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for listing in listings for child in listing.read_text().split()]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent was killed")
def test_up_holds_its_folder_and_its_services_die_with_it(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with up(home) as (process, exported):
        assert broker_answers(exported["KAFKA_BOOTSTRAP"], 60)
        assert redis_answers(exported["REDIS_URL"], 60)

        status = andon_local(home, "status")
        assert status.returncode == 0
        assert exported["KAFKA_BOOTSTRAP"] in status.stdout
        for refused in (andon_local(home, "clean"), andon_local(home, "up")):
            assert refused.returncode == 2
            assert f"are running (process {process.pid})" in refused.stderr

        children = children_of(process.pid)
        assert len(children) == 2
        process.kill()
        wait_until_gone(*children)

    assert andon_local(home, "status").returncode == 1
    assert andon_local(home, "clean").returncode == 0
    assert not home.exists()


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_up_stops_what_it_started_and_ends_well(tmp_path: Path, kafka_bootstrap: str, ending: signal.Signals) -> None:
    with up(tmp_path / "home", KAFKA_BOOTSTRAP=kafka_bootstrap) as (process, exported):
        assert exported["KAFKA_BOOTSTRAP"] == kafka_bootstrap
        os.killpg(process.pid, ending)
        assert process.wait(60) == 0
        assert not redis_answers(exported["REDIS_URL"], 0.3)
    assert broker_answers(kafka_bootstrap, 60)  # it was not ours to stop


def test_one_port_for_both_is_refused(tmp_path: Path) -> None:
    """Kafka then ended with a page of Java, and the advice was to remove its data."""
    done = andon_local(tmp_path / "home", "up", "--kafka-port", "17172", "--redis-port", "17172")
    assert done.returncode == 2
    assert "can't share port 17172" in done.stderr
    assert not (tmp_path / "home").exists()


def test_clean_leaves_a_foreign_folder_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    refused = andon_local(tmp_path, "clean")
    assert refused.returncode == 2
    assert "was not made by Andon" in refused.stderr
    assert (tmp_path / "thesis.tex").exists()
