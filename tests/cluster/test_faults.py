"""Faults against the real services. After each of them every frame is accounted for, and no line is held twice."""

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.plant import Plant
from support.stream import running, wait_until

from pipeline.audit.accounting import CameraAccount
from pipeline.events import Score
from pipeline.groups import INSPECTION
from pipeline.kafka.publisher import Publisher
from pipeline.kafka.reading import read_to_end
from pipeline.kafka.step import ConsumerOptions
from pipeline.maps import MapStore
from pipeline.replica.inspection import Inspection
from pipeline.replica.recipes import Recipe, load_catalog
from pipeline.scoring import Scored, Scorer
from workers.camera.spool.segment import Segment
from workers.camera.spool.state import load_state

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300, func_only=True)]

AWAY_S = 10


def assert_complete(accounts: list[CameraAccount], frames: int) -> None:
    assert all(account.balanced for account in accounts), accounts
    assert sum(account.scored for account in accounts) == frames
    assert not any(account.dropped or account.dead or account.missing for account in accounts)


def test_a_replica_killed_mid_batch_loses_nothing_and_holds_once(plant: Plant) -> None:
    cameras = plant.cameras("killed", frames=600, fps=60, defects=range(100, 600))
    plant.wait_for_hold("killed")
    victim = plant.health()["pid"]
    os.kill(victim, signal.SIGKILL)
    accounts = plant.settled("killed", 1200)
    assert_complete(accounts, 1200)
    assert len(plant.holds("killed")) == 1
    wait_until(lambda: cameras.exit_code == 0)
    assert plant.health()["pid"] != victim


def test_a_replica_whose_terminal_is_closed_mid_batch_commits_it_and_scores_no_frame_twice(plant: Plant) -> None:
    """Between its scores and its commit, the one moment in which its end would cost repeats. A terminal tells all that
    was begun in it, Ray's own processes, too; then a supervisor asks once more."""
    cameras = plant.cameras("asked", frames=600, fps=60, defects=range(100, 600))
    plant.wait_for_hold("asked")
    plant.valkey.pause()
    time.sleep(0.5)  # a batch waits there now
    plant.broker.pause()
    plant.valkey.resume()
    time.sleep(0.5)  # and its scores lie with the broker, who does not answer
    os.killpg(plant.inference.pid, signal.SIGHUP)
    time.sleep(1)
    plant.inference.ask_to_end()
    time.sleep(2)
    plant.broker.resume()
    plant.inference.stop()
    plant.inference.start()
    accounts = plant.settled("asked", 1200)
    assert_complete(accounts, 1200)
    assert not any(account.duplicates for account in accounts), accounts
    assert len(plant.holds("asked")) == 1
    wait_until(lambda: cameras.exit_code == 0)


def test_a_rebalance_mid_batch_loses_nothing_and_holds_once(plant: Plant) -> None:
    cameras = plant.cameras("moved", frames=60, fps=20, defects=range(60), loop=True)
    plant.wait_for_hold("moved")
    with second_replica(plant) as delivered:
        wait_until(lambda: len(delivered) > 3)
    frames = plant.stop(cameras, "moved")
    assert_complete(plant.settled("moved", frames), frames)
    assert len(plant.holds("moved")) == 1


def test_redis_away_makes_frames_wait_and_none_is_lost(plant: Plant) -> None:
    cameras = plant.cameras("redis", frames=60, fps=20, defects=range(60), loop=True)
    plant.wait_for_hold("redis")
    plant.valkey.stop()
    try:
        wait_until(lambda: "Redis" in (plant.health()["waiting_for"] or ""))
        time.sleep(AWAY_S / 2)
    finally:
        plant.valkey.start()
    frames = plant.stop(cameras, "redis")
    assert_complete(plant.settled("redis", frames), frames)
    assert len(plant.holds("redis")) == 1
    wait_until(lambda: plant.health()["waiting_for"] is None)


def test_a_broker_away_makes_cameras_spool_and_none_is_lost(plant: Plant) -> None:
    cameras = plant.cameras("broker", frames=60, fps=20, defects=range(60), loop=True)
    plant.wait_for_hold("broker")
    spool = plant.folder / "broker" / "spool"
    plant.broker.stop()
    try:
        time.sleep(AWAY_S)
        wait_until(lambda: bytes_in(spool) > 10_000, what="a spool while the broker is away")
    finally:
        plant.broker.start()
    wait_until(lambda: not list(spool.glob("*.segment")), what="an empty spool")  # cameras that end keep the rest
    frames = plant.stop(cameras, "broker")
    assert_complete(plant.settled("broker", frames), frames)
    assert len(plant.holds("broker")) == 1
    plant.cameras("returned", frames=20, fps=20, defects=range(20), count=1)
    plant.wait_for_hold("returned")  # the lines are watched again


def test_a_killed_camera_worker_leaves_its_spool_to_the_next(plant: Plant) -> None:
    cameras = plant.cameras("camera", frames=60, fps=20, loop=True)
    wait_until(lambda: sum(a.scored for a in plant.accounts("camera")) > 20)
    spool = plant.folder / "camera" / "spool"
    plant.broker.pause()
    try:
        wait_until(lambda: bytes_in(spool) > 10_000, what="a spool while the broker hangs")
        cameras.kill()
    finally:
        plant.broker.resume()
    spooled = on_disk(spool)
    assert spooled
    config = plant.folder / "camera" / "cameras.yaml"
    successor = plant.worker("cameras-again", "camera", "run", "--config", str(config), "--frames", "200")
    wait_until(lambda: successor.exit_code == 0)
    accounts = plant.settled("camera", 400)
    assert all(account.balanced for account in accounts), accounts
    assert all(set(account.dropped) <= {"died"} for account in accounts), accounts
    scores = read_to_end(plant.settings, [plant.settings.topics.scores.name])
    assert spooled <= {Score.from_json(record.value).frame_id for record in scores}


def bytes_in(spool: Path) -> int:
    return sum(file.stat().st_size for file in spool.rglob("*") if file.is_file())


def on_disk(spool: Path) -> set[str]:
    """The frame ids that a killed camera worker left there."""
    position, _ = load_state(spool)
    found = set()
    for path in spool.glob("*.segment"):
        segment = Segment.at(spool, int(path.stem))
        for facts in segment.scan(position.offset if segment.number == position.segment else 0):
            found.add(f"{facts.owner.camera_id}:{facts.owner.boot_id}:{facts.sequence}")
        segment.close()
    return found


@contextmanager
def second_replica(plant: Plant) -> Iterator[list[Scored]]:
    """Joins the replicas' group as one more of them, and leaves again."""

    class Delivered(list[Scored]):
        def delivered(self, scored: Scored, deliver_s: float) -> None:
            self.append(scored)

    settings = plant.settings
    seen = Delivered()
    catalog = load_catalog({"null": Recipe(bundle=str(plant.folder / "null"), cameras=("*",), late_after_s=600)})
    store, publisher = MapStore(settings.redis_address), Publisher(settings, "second")
    options = ConsumerOptions(settings.group(INSPECTION), (settings.topics.frames.name,), max_batch=8, overlap=True)
    with ThreadPoolExecutor(2) as pool:
        scorer = Scorer(pool, store.expires_at)
        step = Inspection(scorer, lambda: catalog, store, publisher, settings.topics, seen)
        with running(settings, options, step):
            yield seen
    publisher.close()
    store.close()
