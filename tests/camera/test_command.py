"""`andon camera …` as an operator meets it."""

import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow
from support.stream import settings_for
from support.waiting import wait_until

from pipeline.events import BootEnd, Heartbeat
from pipeline.kafka.admin import ensure_topics
from pipeline.kafka.reading import read_to_end
from workers.camera.check import spool_fault
from workers.local.ports import free_ports

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-c", "from workers.cli import main; main()", "camera"]


def write_config(folder: Path, images: Path, head: str = "") -> Path:
    path = folder / "cameras.yaml"
    path.write_text(
        f"{head}cameras:\n  - {{camera_id: cam-1, line_id: l, station_id: s, recipe: r,"
        f" source: {{type: folder, path: {images}, fps: 50, loop: true}}}}\n"
    )
    return path


def andon_camera(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*COMMAND, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True, timeout=60)


@pytest.mark.unit
def test_check_says_what_each_camera_shows(tmp_path: Path, images: Path) -> None:
    good = andon_camera("check", "--config", write_config(tmp_path, images))
    assert (good.returncode, "32 × 32" in good.stdout) == (0, True)
    bad = andon_camera("check", "--config", write_config(tmp_path, tmp_path / "gone"))
    assert bad.returncode == 1
    assert f"cam-1: folder {tmp_path / 'gone'} does not exist" in bad.stderr


@pytest.mark.unit
@pytest.mark.parametrize(("filled", "told"), [(1, "come to 15 of 255"), (16, None)])
def test_check_tells_of_pictures_that_are_black_to_a_model(tmp_path: Path, filled: int, told: str | None) -> None:
    """12 bits in a PNG of 16: nobody said so before the stream had called each frame dark, or judged 16 levels."""
    levels = np.arange(4096, dtype=np.uint16).reshape(64, 64) * filled
    Pillow.fromarray(levels).save(tmp_path / "part.png")
    seen = andon_camera("check", "--config", write_config(tmp_path, tmp_path))
    words = " ".join(seen.stdout.replace("│", " ").split())
    assert seen.returncode == 0
    assert "64 × 64" in words
    assert told in words if told else "of 255" not in words


@pytest.mark.unit
def test_check_says_where_no_frame_could_be_spooled(tmp_path: Path, images: Path) -> None:
    config = write_config(tmp_path, images)
    config.write_text(config.read_text() + f"spool: {{folder: {tmp_path}/disk/spool}}\n")
    assert andon_camera("check", "--config", config).returncode == 0
    assert not (tmp_path / "disk").exists()
    (tmp_path / "disk").touch()
    bad = andon_camera("check", "--config", config)
    assert bad.returncode == 1
    assert f"frames can't be spooled: {tmp_path}/disk: Not a directory" in bad.stderr
    empty = andon_camera("check", "--config", write_config(tmp_path, images, "spool:\n"))
    assert empty.returncode == 1
    assert "spool: has nothing below it, so there is none" in empty.stderr


@pytest.mark.unit
def test_check_finds_what_a_worker_would_not_start_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link to nowhere, and the state of another user's worker, passed."""
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    assert spool_fault(tmp_path / "link") == f"{tmp_path}/link: No such file or directory"
    (tmp_path / "state.json").touch()
    assert spool_fault(tmp_path) is None
    monkeypatch.setattr(os, "access", lambda path, _: Path(path).name != "state.json")  # root may read all
    assert spool_fault(tmp_path) == f"{tmp_path}/state.json can't be read and written by this user"


@pytest.mark.unit
def test_a_wrong_configuration_is_refused_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "cameras.yaml").write_text("cameras: []\n")
    for command in ("check", "run"):
        refused = andon_camera(command, "--config", tmp_path / "cameras.yaml")
        assert refused.returncode == 2
        assert "cameras.yaml" in refused.stderr


@pytest.mark.services
def test_a_worker_told_to_stop_ends_in_good_order(
    kafka_bootstrap: str, unique: str, tmp_path: Path, images: Path
) -> None:
    settings = settings_for(kafka_bootstrap, unique)
    ensure_topics(settings, settings.topics)
    (port,) = free_ports(1)
    places = {
        "KAFKA_BOOTSTRAP": kafka_bootstrap,
        "ANDON_TOPIC_PREFIX": unique,
        "ANDON_FRAME_PARTITIONS": "2",
        "ANDON_LINE_PARTITIONS": "2",
    }
    arguments = ["run", "--config", str(write_config(tmp_path, images, "spool:\n")), "--metrics-port", str(port)]
    command, pipe = [*COMMAND, *arguments], subprocess.PIPE
    worker = subprocess.Popen(command, cwd=ROOT, env=os.environ | places, stdout=pipe, stderr=pipe, text=True)
    try:
        wait_until(lambda: metric(port, "andon_camera_published_total") >= 20)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=30) as answer:
            assert answer.status == 200
        assert 0 < metric(port, "andon_camera_heartbeat_age_seconds", labels="") < 10
    finally:
        worker.send_signal(signal.SIGTERM)
        out, told = worker.communicate(timeout=90)
    assert worker.returncode == 0
    assert "spool: has nothing below it, so there is none" in told
    assert "cam-1" in out
    assert "clean" in out
    *_, last = (Heartbeat.from_json(r.value) for r in read_to_end(settings, [settings.topics.heartbeats.name]))
    assert (last.end, last.published, last.buffered) == (BootEnd.CLEAN, last.captured, 0)


def metric(port: int, name: str, labels: str = '{camera="cam-1"}') -> float:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as page:
            lines = page.read().decode().splitlines()
    except OSError:
        return 0.0  # not up yet
    return float(next((line.split()[-1] for line in lines if line.startswith(f"{name}{labels} ")), 0))
