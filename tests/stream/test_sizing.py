"""The sizing formulas, held against what was measured."""

import json
import math
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis
import yaml
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from support.stream import picture
from typer.testing import CliRunner

from pipeline.events import KafkaPosition
from pipeline.frames import decode
from pipeline.maps import MapEntry, MapStore, encode_map, thumbnail
from pipeline.sizing import (
    MAP_ENTRY_OVERHEAD_BYTES,
    Machine,
    Workload,
    limits,
    plan,
    replica_frames_s,
)
from pipeline.topics import topics
from workers.cli import app

ROOT = Path(__file__).parents[2]
MACHINE = "96d59c"
"""That docs/scaling.md tells of. Whoever measures on another one has results of their own beside these."""
WORK = Workload(cameras=100, fps=10, frame_bytes=100_000, model_ms=5)


def measured(name: str) -> dict[str, float]:
    """Medians of the newest whole run with this section on a machine that had nothing else to do."""
    files = (ROOT / "benchmarks" / "results").glob(f"20*-{MACHINE}*.json")
    runs = [json.loads(file.read_text()) for file in files if "busy" not in file.name]
    for run in sorted(runs, key=lambda run: datetime.fromisoformat(run["started_at"]), reverse=True):
        for finding in run["findings"]:
            if finding["name"] == name and not run["quick"]:
                medians: dict[str, float] = finding["raw"]["medians"]
                return medians
    pytest.fail(f"no benchmark result has {name}, by which the plan is made")


@pytest.mark.unit
@pytest.mark.parametrize(
    ("section", "replica"), [("pipeline_over_detector", "replica"), ("serve_over_detector", "Serve replica")]
)
def test_a_replicas_rate_follows_from_its_models(section: str, replica: str) -> None:
    medians = measured(section)
    model_ms = 1000 / medians["detector alone"]
    assert replica_frames_s(model_ms) == pytest.approx(medians[replica], rel=0.2)


@pytest.mark.unit
def test_a_replica_without_a_model_is_not_planned_faster_than_it_was_measured() -> None:
    assert replica_frames_s(0) <= measured("null_replica_over_bare_consumer")["replica"] * 1.05


@pytest.mark.unit
@pytest.mark.parametrize(
    ("section", "who"),
    [
        ("pipeline_over_detector", "replica"),
        ("pipeline_over_detector", "detector alone"),
        ("serve_over_detector", "Serve replica"),
        ("serve_over_detector", "detector alone"),
        ("null_replica_over_bare_consumer", "replica"),
    ],
)
def test_the_pages_tell_the_newest_figures(section: str, who: str) -> None:
    """They told two of one replica, and the plan went by the older."""
    told = f"{measured(section)[who]:.3g} "
    for page in ("performance.md", "scaling.md"):
        assert told in (ROOT / "docs" / page).read_text(), page


@pytest.mark.services
def test_a_frame_in_redis_takes_what_the_formula_says(redis_url: str, unique: str) -> None:
    pixels = decode(picture(seed=1, size=(300, 300)), "gray")
    grid = (pixels[::4, ::4] / 255).astype("float32")
    facts = {"verdict": "NOT_OK", "score": "0.123456789", "threshold": "0.1", "doubts": ""}
    entries = [
        MapEntry(
            f"andon:map:{unique}:b1:{n}:0123456789abcdef",
            f"{unique}:b1:{n}",
            grid,
            thumbnail(pixels),
            facts,
            KafkaPosition(topic="frames", partition=3, offset=123456 + n),
        )
        for n in range(64)
    ]
    store = MapStore(redis_url, ttl_s=60)
    store.put(entries)
    store.close()
    client: Any = redis.Redis.from_url(redis_url)
    used = sum(client.memory_usage(entry.key, samples=0) for entry in entries)  # by default it guesses from five fields
    client.close()
    blobs = sum(map(len, encode_map(grid, half_precision=False).values())) + len(thumbnail(pixels))
    assert used / len(entries) == pytest.approx(blobs + MAP_ENTRY_OVERHEAD_BYTES, rel=0.25)


@pytest.mark.unit
def test_an_example_by_hand() -> None:
    """1,000 frames/s; a replica does 1000 / 8.3 = 120, and 84 at 70 %."""
    made = plan(WORK)
    assert made.replicas == 12
    assert made.gpus == 12
    assert made.frame_partitions == 24
    assert made.brokers == 3
    # 100.7 MB/s × 6 h ÷ 0.7 over 24 partitions are 121 GiB each, and a file of 256 MiB.
    assert made.frames_gib_per_partition == 121
    # 3 copies on 3 brokers. Besides: dead letters of 4 GiB × 24; 8 topics by line of 2 GiB × 4, of which line-state has
    # files of 16 MiB; heartbeats.
    assert made.broker_disk_gib == pytest.approx(24 * 121.25 + 24 * 4.25 + 7 * 4 * 2.25 + 4 * 2.016 + 2.25, rel=0.001)
    assert made.broker_in_bytes_s == pytest.approx(100.7e6, rel=0.001)
    assert made.redis_gib == pytest.approx(1000 * 3600 * 14_700 / 1024**3 / 0.7, rel=0.001)
    assert made.spool_gib_per_camera == pytest.approx(1.68, abs=0.01)


@pytest.mark.unit
@given(
    cameras=st.integers(1, 100_000),
    fps=st.floats(0.1, 60),
    frame_bytes=st.integers(1_000, 4_000_000),
    model_ms=st.floats(0.1, 200),
)
def test_what_is_planned_carries_the_load(cameras: int, fps: float, frame_bytes: int, model_ms: float) -> None:
    work, machine = Workload(cameras, fps, frame_bytes, model_ms), Machine()
    made = plan(work, machine)
    assert made.replicas * replica_frames_s(model_ms) * 0.7 >= work.frames_s * 0.999
    assert made.replicas <= made.frame_partitions
    assert made.broker_in_bytes_s <= machine.nic_bytes_s * 1.001
    assert made.broker_disk_gib <= machine.broker_disk_gib * 1.001
    more = plan(replace(work, cameras=cameras * 2), machine)
    assert more.replicas >= made.replicas
    assert more.brokers >= made.brokers


@pytest.mark.unit
@given(cameras=st.integers(1, 5_000), fps=st.floats(0.1, 30), retention_h=st.floats(0.1, 100))
def test_no_topic_of_the_planned_values_can_fill_a_brokers_disk(cameras: int, fps: float, retention_h: float) -> None:
    from workers.planning import chart_values

    work = replace(WORK, cameras=cameras, fps=fps, retention_h=retention_h)
    values = yaml.safe_load(chart_values(work, plan(work)).split("---\n")[1])
    kept = values["topics"]["retention"]["frames"]
    assert kept["hours"] >= retention_h
    found = topics(frame_partitions=values["topics"]["framePartitions"])
    limits = {topic.name: topic.retention_bytes for topic in found} | {"frames": kept["gibPerPartition"] * 1024**3}
    # Kafka deletes whole files: a partition holds one more than its limit. The audit-log has no limit.
    most = sum(topic.partitions * (max(0, limits[topic.name]) + topic.segment_bytes) for topic in found)
    brokers = values["brokers"]
    assert most * 3 <= brokers["replicas"] * int(brokers["storage"].removesuffix("Gi")) * 1024**3
    assert limits["frames"] * found.frames.partitions >= work.bytes_s * retention_h * 3600


@pytest.mark.unit
def test_values_of_a_factory_that_can_not_be_say_so() -> None:
    done = CliRunner().invoke(app, ["plan", "--cameras=1", "--fps=60", "--frame-kb=10", "--model-ms=20", "--values"])
    assert "no number of replicas helps" in done.stderr
    assert list(yaml.safe_load_all(done.stdout))


@pytest.mark.unit
def test_no_factory_is_endless() -> None:
    """`inf` is a number to a command line, and the plan of it ended in a trace."""
    asked = {"cameras": 1, "fps": 60, "frame-kb": 10, "model-ms": 20, "retention-h": 6, "map-kb": 9, "nic-gbit": 10}
    for name in asked.keys() - {"cameras"}:
        done = CliRunner().invoke(app, ["plan", *(f"--{key}={asked[key]}" for key in asked), f"--{name}=inf"])
        assert (done.exit_code, f"'--{name}'" in done.stderr) == (2, True)


@pytest.mark.unit
def test_frames_that_no_camera_sends_are_told() -> None:
    (warning,) = plan(replace(WORK, frame_bytes=8_000_000, map_ttl_s=60)).warnings
    assert "a frame of 8,000 kB is refused: cameras and replicas take at most 4,194 kB" in warning


@pytest.mark.unit
def test_large_maps_take_as_much_redis_as_they_do() -> None:
    """Of 2000 × 2000 px one has 250 × 250 cells: the plan took each for 9 kB."""
    noise = np.random.default_rng(1).normal(size=(38, 38)).astype("float32")
    smooth = np.asarray(Image.fromarray(noise).resize((250, 250), Image.Resampling.BICUBIC))
    kb = sum(map(len, encode_map(smooth, half_precision=False).values())) / 1000
    assert 30 < kb < 60
    options = ["plan", "--cameras=10", "--fps=10", "--frame-kb=1500", "--model-ms=50", f"--map-kb={kb}"]
    told = CliRunner().invoke(app, options).stdout
    assert f"{100 * 3600 * (kb * 1000 + 5_700) / 1024**3 / 0.7:,.1f} GiB" in told


@pytest.mark.unit
def test_a_camera_too_fast_for_one_replica_is_told() -> None:
    (warning,) = plan(Workload(1, 60, 10_000, 20)).warnings
    assert "no number of replicas helps" in warning


@pytest.mark.unit
def test_what_takes_seconds_is_no_rate_of_nothing() -> None:
    """Of a model that takes 9 s for 12 megapixels: "one scores 0 frames/s", and beside it 26 replicas."""
    done = CliRunner().invoke(app, ["plan", "--cameras=4", "--fps=0.1", "--frame-kb=2400", "--model-ms=9000"])
    assert "one scores 0.11 frames/s" in done.stdout
    assert "0.96 + 0.96 MB/s" in done.stdout
    (warning,) = plan(Workload(1, 0.5, 2_400_000, 9_000)).warnings
    assert "one replica scores 0.11:" in warning


@pytest.mark.unit
def test_limits_agree_with_the_plan() -> None:
    """At the number of cameras that fills one GPU the plan has one, and beyond it two."""
    (gpu,) = (limit for limit in limits(WORK) if limit.what == "one GPU")
    assert plan(replace(WORK, cameras=gpu.cameras)).gpus == 1
    assert plan(replace(WORK, cameras=gpu.cameras + 1)).gpus == 2
    (memory,) = (limit for limit in limits(WORK) if limit.what == "one Redis: memory")
    assert plan(replace(WORK, cameras=memory.cameras)).redis_servers == 1
    assert plan(replace(WORK, cameras=math.ceil(memory.cameras * 1.01))).redis_servers == 2
    (partitions,) = (limit for limit in limits(WORK) if limit.what == "8 partitions")
    assert plan(replace(WORK, cameras=partitions.cameras)).frame_partitions == 8
    assert plan(replace(WORK, cameras=math.ceil(partitions.cameras * 1.3))).frame_partitions > 8


@pytest.mark.unit
@pytest.mark.parametrize("cameras", [1, 100, 10_000])
def test_its_values_are_taken_by_the_charts(cameras: int, tmp_path: Path) -> None:
    from support.charts import Mode, template

    from workers.planning import chart_values

    work = replace(WORK, cameras=cameras)
    for values, mode in zip(
        chart_values(work, plan(work)).split("---\n"),
        (Mode("factory", "minimal"), Mode("factory-kafka", "plant")),
        strict=True,
    ):
        file = tmp_path / f"{mode.chart}.yaml"
        file.write_text(values)
        done = template(mode, "--values", file)
        assert done.returncode == 0, done.stderr


@pytest.mark.unit
@pytest.mark.parametrize("share", [0, 1, 3, 64])
def test_its_values_ask_for_the_gpus_that_it_counted(share: int, tmp_path: Path) -> None:
    """They asked for none: replicas whose speed was planned on a GPU ran on two cores."""
    from support.charts import Mode, rendered

    from workers.planning import chart_values

    work = replace(WORK, cameras=300, replicas_per_gpu=share)
    file = tmp_path / "factory.yaml"
    file.write_text(chart_values(work, plan(work)).split("---\n")[0])
    service = rendered(Mode("factory", "minimal"), "--values", file).one("RayService")["spec"]
    (group,) = service["rayClusterConfig"]["workerGroupSpecs"]
    gpus = group["template"]["spec"]["containers"][0]["resources"]["limits"].get("nvidia.com/gpu", 0)
    (deployment,) = yaml.safe_load(service["serveConfigV2"])["applications"][0]["deployments"]
    assert gpus == (1 if share else 0)
    assert deployment["max_replicas_per_node"] == max(1, share)
    asked = deployment["ray_actor_options"]["num_gpus"]
    assert asked * share <= gpus
    assert bool(asked) == bool(share)
