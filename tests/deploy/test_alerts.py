"""Alerts fire when they should, as Prometheus itself reckons: `promtool test rules` on what the chart renders."""

import json
import os
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support import kube_tools
from support.charts import CHARTS, Mode, Render, rendered

from workers.camera.buffer import Buffer, WhenFull
from workers.camera.ledger import DropReason
from workers.camera.metrics import CameraMetrics
from workers.camera.parcel import Owner

pytestmark = pytest.mark.unit

HERE = 'namespace="plant", factory="factory"'
DELETED = ("ray_andon_frames_deleted_unread", "andon_alerting_deleted_unread_total")
WORKERS = 3
"""Of the plant's cameras."""


@pytest.fixture(scope="module")
def promtool() -> Path:
    try:
        return kube_tools.promtool()
    except kube_tools.ToolError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def rules(renders: dict[Mode, Render], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return rules_of(renders[Mode("factory", "plant")], tmp_path_factory.mktemp("rules"))


def rules_of(render: Render, folder: Path) -> Path:
    """A folder with a file for each alert: what promtool reckons is all that it is given, at each step."""
    for group in render.one("PrometheusRule")["spec"]["groups"]:
        for alert in {rule["alert"] for rule in group["rules"]}:
            alone = group | {"rules": [rule for rule in group["rules"] if rule["alert"] == alert]}
            (folder / f"{alert}.json").write_text(json.dumps({"groups": [alone]}))
    return folder


def alerts_of(render: Render) -> set[str]:
    return {rule["alert"] for group in render.one("PrometheusRule")["spec"]["groups"] for rule in group["rules"]}


def fires(promtool: Path, rules: Path, alert: str, series: dict[str, str], at: str, of: str = "") -> bool:
    """Whether the alert fires at that time; `of`: with these labels. Series by Prometheus' notation: one value every
    15 s, `_` for none."""
    question = f'count(ALERTS{{alertname="{alert}", alertstate="firing", {of}}})'
    case = {
        "interval": "15s",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [{"expr": question, "eval_time": at, "exp_samples": [{"labels": "{}", "value": 1}]}],
    }
    file = rules / f"{alert}.json"
    assert file.exists()
    done = run(promtool, {"rule_files": [str(file)], "evaluation_interval": "15s", "tests": [case]}, rules)
    told = done.stdout + done.stderr
    assert done.returncode == 0 or "got: nil" in told, f"it can't be read, or fires more than once: {told}"
    return done.returncode == 0


def run(promtool: Path, tests: Any, folder: Path) -> subprocess.CompletedProcess[str]:
    file = folder / "test.yaml"
    file.write_text(json.dumps(tests))
    command, env = [str(promtool), "test", "rules", str(file)], {**os.environ, "GOGC": "off"}  # as Helm's in support
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=env)


@pytest.mark.parametrize("chart", ["factory", "factory-kafka"])
def test_prometheus_takes_all_rules_in_one_file(
    chart: str, promtool: Path, renders: dict[Mode, Render], tmp_path: Path
) -> None:
    """As the operator hands them over: each of them alone says nothing of a group that is there twice."""
    file = tmp_path / "rules.json"
    file.write_text(json.dumps(renders[Mode(chart, "plant")].one("PrometheusRule")["spec"]))
    command = [str(promtool), "check", "rules", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def dead(reason: str) -> str:
    return f'ray_andon_frames_dead_total{{{HERE}, pod="p", reason="{reason}"}}'


def up(pod: str) -> str:
    return f'up{{{HERE}, component="camera", pod="factory-camera-{pod}"}}'


def line(name: str, pod: str = "a", labels: str = "") -> str:
    return f'andon_alerting_{name}{{{HERE}, pod="{pod}", line="l"{labels}}}'


def test_frames_that_die_at_once_are_told_of(promtool: Path, rules: Path) -> None:
    assert fires(promtool, rules, "AndonDeadLetters", {dead("undecodable"): "_x8 500x40"}, "5m")


def test_frames_that_die_little_by_little_are_told_of(promtool: Path, rules: Path) -> None:
    assert fires(promtool, rules, "AndonDeadLetters", {dead("undecodable"): "0+1x80"}, "15m")


def test_dead_frames_of_long_ago_are_told_of_no_more(promtool: Path, rules: Path) -> None:
    assert not fires(promtool, rules, "AndonDeadLetters", {dead("undecodable"): "_x8 500x80"}, "15m")


def test_a_camera_worker_without_a_pod_is_missed(promtool: Path, rules: Path) -> None:
    """One whose pod waits for its node or its volume has no `up`, so nothing of it is 0."""
    all_well = {up(f"{number}"): "1x80" for number in range(WORKERS)}
    assert not fires(promtool, rules, "AndonCameraWorkersMissing", all_well, "10m")
    assert fires(promtool, rules, "AndonCameraWorkersMissing", all_well | {up("0"): "1x8 stale"}, "10m")
    assert fires(promtool, rules, "AndonCameraWorkersMissing", {}, "10m")


def test_frames_that_are_dropped_at_once_are_told_of(promtool: Path, rules: Path) -> None:
    """Every reason is there with 0 before anything is dropped: an increase is told of from the first frame on."""
    feeder: Any = SimpleNamespace(owner=Owner("c", "line-1", "b1"), failures=0, connected=True)
    metrics = CameraMetrics([feeder], Buffer(2**23, WhenFull.DROP_OLDEST, lambda: None), dict, lambda: 0.0)
    (told,) = (family for family in metrics.collect() if family.name == "andon_camera_dropped")
    assert {sample.labels["reason"]: sample.value for sample in told.samples} == dict.fromkeys(DropReason, 0)
    dropped = f'andon_camera_dropped_total{{{HERE}, pod="p", camera="c", reason="spool_full"}}'
    assert fires(promtool, rules, "AndonFramesDropped", {dropped: "0x8 500x40"}, "4m")
    assert not fires(promtool, rules, "AndonFramesDropped", {dropped: "0x40"}, "4m")


def test_a_certificate_of_a_plc_is_told_of_before_it_ends(promtool: Path, rules: Path) -> None:
    """By each worker, and once."""
    day = 86_400  # promtool's clock begins at 0

    def ends(days: int) -> dict[str, str]:
        name = "andon_alerting_plc_certificate_ends_seconds"
        return {f'{name}{{{HERE}, pod="{pod}", line="l", whose="own"}}': f"{days * day}x40" for pod in ("a", "b")}

    assert fires(promtool, rules, "AndonPlcCertificateEnds", ends(13), "5m")
    assert not fires(promtool, rules, "AndonPlcCertificateEnds", ends(15), "5m")


def test_frames_of_boxes_at_the_line_that_nobody_scores_are_told_of(promtool: Path, rules: Path) -> None:
    """No camera worker of the cluster counts them, but the page sees them wait."""
    waiting = f'andon_console_waiting{{{HERE}, pod="p", group="andon-inspection"}}'
    scored = f'ray_andon_frames_scored_total{{{HERE}, pod="r", camera="c", verdict="OK"}}'
    assert fires(promtool, rules, "AndonNoFramesScored", {waiting: "0x8 20+20x40"}, "6m")
    assert fires(promtool, rules, "AndonNoFramesScored", {waiting: "0x8 20+20x40", scored: "9x48"}, "6m")
    assert not fires(promtool, rules, "AndonNoFramesScored", {waiting: "0x48"}, "6m")
    assert not fires(promtool, rules, "AndonNoFramesScored", {waiting: "0x8 20+20x40", scored: "0+9x48"}, "6m")


def test_a_plc_that_misses_an_exchange_now_and_then_is_not_away(promtool: Path, rules: Path) -> None:
    """As one that takes a single connection does when its line moves to another worker, and one behind a poor network
    does every minute: it answers half a second later, and everybody was told that no stop would get through."""

    def exchanges(failed: str, good: str) -> dict[str, str]:
        return {line("plc_exchange_failures_total"): failed, line("plc_exchange_seconds_count"): good}

    for minutes in range(2, 8):
        assert not fires(promtool, rules, "AndonPlcAway", exchanges("0x8 1x40", "0+7x48"), f"{minutes}m30s")
    each_minute = "0x3 1x3 2x3 3x3 4x3 5x3 6x3 7x3 8x3 9x3"
    assert not fires(promtool, rules, "AndonPlcAway", exchanges(each_minute, "0+30x48"), "9m")
    assert fires(promtool, rules, "AndonPlcAway", exchanges("0x8 8+8x40", "0+30x8 240x40"), "6m")
    assert fires(promtool, rules, "AndonPlcAway", exchanges("0+8x48", "_x48"), "5m"), "one that never answered"


def test_workers_with_other_policies_are_told_of_unless_a_roll_out_has_just_begun(promtool: Path, rules: Path) -> None:
    def digests(*found: str) -> dict[str, str]:
        return {f'andon_alerting_policy_info{{{HERE}, pod="{n}", digest="{d}"}}': "1x80" for n, d in enumerate(found)}

    assert fires(promtool, rules, "AndonPoliciesDiffer", digests("a", "b", "b"), "11m")
    assert not fires(promtool, rules, "AndonPoliciesDiffer", digests("a", "b"), "9m")
    assert not fires(promtool, rules, "AndonPoliciesDiffer", digests("a", "a"), "11m")


def test_replicas_that_judge_a_recipe_by_different_models_are_told_of(promtool: Path, rules: Path) -> None:
    """A bundle was replaced in its place: the replicas that came later had another."""

    def judging(*found: tuple[str, str, int]) -> dict[str, str]:
        return {
            f'ray_andon_recipe_model{{{HERE}, replica="{n}", recipe="{recipe}", model="{model}"}}': f"{value}x80"
            for n, (recipe, model, value) in enumerate(found)
        }

    assert fires(promtool, rules, "AndonModelsDiffer", judging(("r", "a", 1), ("r", "b", 1)), "11m")
    assert not fires(promtool, rules, "AndonModelsDiffer", judging(("r", "a", 1), ("r", "b", 1)), "9m")
    assert not fires(promtool, rules, "AndonModelsDiffer", judging(("r", "a", 0), ("r", "b", 1), ("s", "c", 1)), "11m")


def test_recipes_that_a_replica_can_not_take_are_told_of(promtool: Path, rules: Path) -> None:
    def refusing(*values: int) -> dict[str, str]:
        return {
            f'ray_andon_configuration_refused{{{HERE}, replica="{n}"}}': f"{value}x80" for n, value in enumerate(values)
        }

    assert fires(promtool, rules, "AndonConfigurationRefused", refusing(0, 1), "2m")
    assert not fires(promtool, rules, "AndonConfigurationRefused", refusing(0, 0), "2m")


def test_frames_and_scores_that_kafka_deleted_unread_are_told_of(promtool: Path, rules: Path) -> None:
    for name in DELETED:
        series = f'{name}{{{HERE}, pod="a"}}'
        assert fires(promtool, rules, "AndonDeletedUnread", {series: "0x4 7x40"}, "4m")
        assert not fires(promtool, rules, "AndonDeletedUnread", {series: "7x80"}, "18m")


def test_what_a_worker_finds_at_its_start_is_told_of(promtool: Path, rules: Path) -> None:
    """It was away, and so frames waited: what came of that is there before it is asked for the first time."""
    late = f'andon_alerting_late_total{{{HERE}, pod="a"}}'
    dropped = f'andon_camera_dropped_total{{{HERE}, pod="p", camera="c", reason="spool_full"}}'
    deleted = [f'{name}{{{HERE}, pod="a"}}' for name in DELETED]
    for alert, series in [("AndonLateDefects", late), ("AndonFramesDropped", dropped)] + [
        ("AndonDeletedUnread", one) for one in deleted
    ]:
        assert fires(promtool, rules, alert, {series: "_x8 7x40"}, "4m"), alert
        assert not fires(promtool, rules, alert, {series: "_x8 0x40"}, "4m"), alert
        assert not fires(promtool, rules, alert, {series: "_x8 7x80"}, "20m"), alert


def test_an_outage_of_prometheus_makes_no_old_counter_alert(promtool: Path, rules: Path) -> None:
    """For as long as a rule looks back there was nothing, and so all that a counter had ever counted was new."""
    for alert, name in [("AndonLateDefects", "andon_alerting_late_total"), ("AndonDeletedUnread", DELETED[0])]:
        series = f'{name}{{{HERE}, pod="a"}}'
        assert not fires(promtool, rules, alert, {series: "7x80 _x80 7x80"}, "42m"), alert
        assert fires(promtool, rules, alert, {series: "7x80 _x80 9x80"}, "42m"), alert
        assert fires(promtool, rules, alert, {series: "7x80 _x80 5x80"}, "42m"), f"{alert}: of a process begun anew"
        assert fires(promtool, rules, alert, {series: "7x80 0x10 7x80"}, "26m"), f"{alert}: of one begun anew meanwhile"


def test_a_line_without_cameras_is_not_missed(promtool: Path, rules: Path) -> None:
    """They ended in good order for the night, or the line was taken away: its state is kept, and told of for ever."""
    watched, alive = line("watched_cameras"), line("line_watched")
    assert not fires(promtool, rules, "AndonLineNotWatched", {watched: "0x40", alive: "0x40"}, "5m")
    assert fires(promtool, rules, "AndonLineNotWatched", {watched: "2x40", alive: "0x40"}, "5m")
    assert not fires(promtool, rules, "AndonLineNotWatched", {watched: "2x40", alive: "1x40"}, "5m")


def test_a_line_whose_state_cannot_be_read_is_told_of(promtool: Path, rules: Path) -> None:
    assert fires(promtool, rules, "AndonLineNotWatched", {line("state_unreadable"): "1x40"}, "5m")


def test_a_slow_line_whose_frames_come_through_is_no_outage(promtool: Path, rules: Path) -> None:
    """Ray tells of a verdict, and of a reason, once a frame had it: to Prometheus its first number is no increase."""
    published = f'andon_camera_published_total{{{HERE}, pod="p", camera="c"}}'
    known = f'ray_andon_frames_scored_total{{{HERE}, pod="r", camera="c", verdict="OK"}}'
    first = f'ray_andon_frames_scored_total{{{HERE}, pod="r", camera="c", verdict="NOT_OK"}}'
    sent = {published: "0x20 1x60"}
    assert fires(promtool, rules, "AndonNoFramesScored", sent | {known: "5x80"}, "6m30s")
    assert not fires(promtool, rules, "AndonNoFramesScored", sent | {known: "_x20 1x60"}, "6m30s")
    assert not fires(promtool, rules, "AndonNoFramesScored", sent | {known: "5x80", first: "_x20 1x60"}, "6m30s")
    assert not fires(promtool, rules, "AndonNoFramesScored", sent | {dead("undecodable"): "_x20 1x60"}, "6m30s")


def test_a_triggered_camera_without_parts_is_not_silent(promtool: Path, tmp_path: Path) -> None:
    """Whether its line says so itself, or all lines do."""
    one, all_ = "lines.labels-2.stop.triggered=true", "alerting.otherLines.triggered=true,lines.labels-2.stop.triggered"

    def seen(camera: str, connected: int = 1) -> dict[str, str]:
        of = f'{{{HERE}, pod="p", camera="{camera}"}}'
        return {f"andon_camera_captured_total{of}": "9x40", f"andon_camera_source_connected{of}": f"{connected}x40"}

    for more, triggered, other in [
        (one, "labels-2-back", "press-1-top"),
        (f"{all_}=false", "press-1-top", "labels-2-back"),
    ]:
        rules = rules_of(rendered(Mode("factory", "plant"), "--set", more), tmp_path)
        assert not fires(promtool, rules, "AndonCameraSilent", seen(triggered), "8m"), more
        assert fires(promtool, rules, "AndonCameraSilent", seen(triggered, connected=0), "8m"), more
        assert fires(promtool, rules, "AndonCameraSilent", seen(other), "8m"), more


def alerting(*idle_s: int) -> dict[str, str]:
    """One worker each, idle for so long."""
    pods = {f'{{{HERE}, component="alerting", pod="{number}"}}': seconds for number, seconds in enumerate(idle_s)}
    return {f"up{of}": "1x40" for of in pods} | {
        f"andon_alerting_idle_seconds{of}": f"{s}x40" for of, s in pods.items()
    }


def test_an_alerting_worker_that_is_away_is_missed(promtool: Path, rules: Path) -> None:
    """One is left to judge, and none to take over from it."""
    assert fires(promtool, rules, "AndonAlertingWorkersMissing", alerting(0, 0), "8m")
    assert not fires(promtool, rules, "AndonAlertingWorkersMissing", alerting(0, 0, 0), "8m")
    assert not fires(promtool, rules, "AndonAlertingStands", alerting(0), "8m")
    assert fires(promtool, rules, "AndonAlertingStands", {}, "8m")


def test_an_alerting_worker_that_hangs_is_named(promtool: Path, rules: Path) -> None:
    """Its lines are its own until it is ended. Of the others nothing is said: they judge."""
    assert fires(promtool, rules, "AndonAlertingStands", alerting(0, 60, 0), "8m", of='pod="1"')
    assert not fires(promtool, rules, "AndonAlertingStands", alerting(0, 60, 0), "8m", of='pod!="1"')


def of_replica(name: str, values: str, labels: str = "") -> dict[str, str]:
    return {f'ray_andon_{name}{{{HERE}, pod="r"{labels}}}': values}


def replicas(at_work: int, wanted: int | None = None) -> dict[str, str]:
    """`wanted`: as Ray's head tells; None while it is away."""
    found = {f'ray_andon_replica_waiting{{{HERE}, pod="p", replica="{number}"}}': "0x80" for number in range(at_work)}
    return (
        found
        if wanted is None
        else found | {f'ray_serve_autoscaling_target_replicas{{{HERE}, pod="h"}}': f"{wanted}x80"}
    )


def of_camera(name: str, values: str) -> dict[str, str]:
    return {f'andon_camera_{name}{{{HERE}, pod="p", camera="c"}}': values}


def of_page(name: str, values: str, labels: str = "") -> dict[str, str]:
    return {f'andon_console_{name}{{{HERE}, pod="p"{labels}}}': values}


HEAD_IS_UP = f'up{{{HERE}, component="inference-head", pod="p"}}'
PAGE_IS_UP = f'up{{{HERE}, component="console", pod="p"}}'
POLICY = f"andon_alerting_policy_info{{{HERE}, pod="
SCORED = of_replica("frames_scored_total", "0+9x40", ', camera="c", verdict="OK"')
SEEN = of_camera("captured_total", "0+9x40") | of_camera("source_connected", "1x40")
EXAMPLES: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "AndonNoFramesScored": (of_camera("published_total", "0+9x40"), of_camera("published_total", "0+9x40") | SCORED),
    "AndonBacklog": (of_replica("frames_lag", "1001x40"), of_replica("frames_lag", "1000x40")),
    "AndonReplicasMissing": (replicas(at_work=3), replicas(at_work=4)),
    "AndonRayHeadAway": ({HEAD_IS_UP: "0x40"}, {HEAD_IS_UP: "1x40"}),
    "AndonReplicaWaits": (of_replica("replica_waiting", "1x40"), of_replica("replica_waiting", "0x40")),
    "AndonDeletedUnread": (
        of_replica("frames_deleted_unread", "0x30 7x10"),
        of_replica("frames_deleted_unread", "0x40"),
    ),
    "AndonModelsDiffer": (
        of_replica("recipe_model", "1x60", ', recipe="r", model="a"')
        | of_replica("recipe_model", "1x60", ', recipe="r", model="b"'),
        of_replica("recipe_model", "1x60", ', recipe="r", model="a"')
        | of_replica("recipe_model", "0x60", ', recipe="r", model="b"'),
    ),
    "AndonConfigurationRefused": (
        of_replica("configuration_refused", "1x40"),
        of_replica("configuration_refused", "0x40"),
    ),
    "AndonDeadLetters": ({dead("undecodable"): "0+9x40"}, {dead("undecodable"): "9x40"}),
    "AndonHeartbeatStale": (of_camera("heartbeat_age_seconds", "31x40"), of_camera("heartbeat_age_seconds", "30x40")),
    "AndonCameraWorkerAway": ({up("0"): "0x40"}, {up("0"): "1x40"}),
    "AndonCameraWorkersMissing": ({up("0"): "1x40"}, {up(f"{number}"): "1x40" for number in range(WORKERS)}),
    "AndonCameraSilent": (SEEN | of_camera("captured_total", "9x40"), SEEN),
    "AndonSpoolFills": (
        of_camera("spool_bytes", "81x40") | of_camera("spool_max_bytes", "100x40"),
        of_camera("spool_bytes", "80x40") | of_camera("spool_max_bytes", "100x40"),
    ),
    "AndonFramesDropped": (
        {f'andon_camera_dropped_total{{{HERE}, pod="p", camera="c", reason="spool_full"}}': "0x30 1x10"},
        {f'andon_camera_dropped_total{{{HERE}, pod="p", camera="c", reason="spool_full"}}': "0x40"},
    ),
    "AndonAlertingStands": (alerting(31), alerting(0)),
    "AndonAlertingWorkersMissing": (alerting(0), alerting(0, 0, 0)),
    "AndonAlertingBehind": (
        {line("lag"): "25x40", line("scores_total"): "0+30x40"},
        {line("lag"): "15x40", line("scores_total"): "0+30x40"},
    ),
    "AndonLineNotWatched": (
        {line("line_watched"): "0x40", line("watched_cameras"): "1x40"},
        {line("line_watched"): "1x40", line("watched_cameras"): "1x40"},
    ),
    "AndonPlcAway": (
        {line("plc_exchange_failures_total"): "0+9x40", line("plc_exchange_seconds_count"): "9x40"},
        {line("plc_exchange_failures_total"): "9x40", line("plc_exchange_seconds_count"): "0+9x40"},
    ),
    "AndonStopNotConfirmed": (
        {line("replies_total", labels=', outcome="rejected"'): "0x30 1x10"},
        {line("replies_total", labels=', outcome="accepted"'): "0x30 1x10"},
    ),
    "AndonPlcCertificateEnds": (
        {line("plc_certificate_ends_seconds"): f"{13 * 86_400}x40"},
        {line("plc_certificate_ends_seconds"): f"{15 * 86_400}x40"},
    ),
    "AndonPoliciesDiffer": (
        {f'{POLICY}"{pod}", digest="{pod}"}}': "1x60" for pod in "ab"},
        {f'{POLICY}"{pod}", digest="a"}}': "1x60" for pod in "ab"},
    ),
    "AndonLateDefects": ({line("late_total"): "0x30 1x10"}, {line("late_total"): "0x40"}),
    "AndonPageBlind": (
        of_page("reading", "0x40") | {PAGE_IS_UP: "1x40"},
        of_page("reading", "1x40") | {PAGE_IS_UP: "1x40"},
    ),
}
"""Alert → with what it fires, and with what it stays quiet, ten minutes on."""


def test_every_alert_has_an_example(plant: Render) -> None:
    assert alerts_of(plant) == set(EXAMPLES)


@pytest.mark.parametrize("alert", EXAMPLES)
def test_an_alert_fires_and_stays_quiet(alert: str, promtool: Path, rules: Path) -> None:
    with_it, without = EXAMPLES[alert]
    assert fires(promtool, rules, alert, with_it, "10m")
    assert not fires(promtool, rules, alert, without, "10m")


def test_replicas_that_are_wanted_and_not_at_work_are_missed(promtool: Path, rules: Path) -> None:
    """A GPU node that was gone was told of only once frames waited. The plant wants four at least, and as many as the
    backlog asks for; without the head nobody knows of those."""
    alert = "AndonReplicasMissing"
    assert fires(promtool, rules, alert, replicas(at_work=5, wanted=6), "15m")
    assert not fires(promtool, rules, alert, replicas(at_work=5, wanted=6), "9m"), "a pod may take long to come"
    assert not fires(promtool, rules, alert, replicas(at_work=6, wanted=6), "15m")
    assert not fires(promtool, rules, alert, replicas(at_work=8, wanted=4), "15m"), (
        "one cluster makes place for another"
    )
    assert not fires(promtool, rules, alert, replicas(at_work=5), "15m")
    assert fires(promtool, rules, alert, {}, "15m")


def test_a_head_whose_pod_is_away_is_missed(promtool: Path, rules: Path) -> None:
    """Replicas score on where its state is in a Redis, so nothing told that none would be replaced or added."""
    assert fires(promtool, rules, "AndonRayHeadAway", {}, "10m")


def test_a_page_whose_pod_is_away_is_missed(promtool: Path, rules: Path) -> None:
    assert fires(promtool, rules, "AndonPageBlind", {}, "5m")


def test_what_dies_at_once_is_shown_where_the_alert_leads(promtool: Path, tmp_path: Path) -> None:
    """Ray tells of a reason, and of a verdict, once a frame had it: the alert came, and its panel was empty."""
    dashboard = json.loads((CHARTS / "factory" / "files" / "dashboards" / "factory.json").read_text(encoding="utf-8"))
    for title, metric, label, each in [
        ("Dead letters a minute", "ray_andon_frames_dead_total", "reason", 100),
        ("Verdicts a second", "ray_andon_frames_scored_total", "verdict", 500 / 60),
    ]:
        (shown,) = (panel["targets"] for panel in dashboard["panels"] if panel["title"] == title)
        asked = shown[0]["expr"].replace("$namespace", "plant").replace("$factory", "factory")
        case = {
            "interval": "15s",
            "input_series": [{"series": f'{metric}{{{HERE}, {label}="x"}}', "values": "_x8 500x8"}],
            "promql_expr_test": [
                {"expr": asked, "eval_time": "2m30s", "exp_samples": [{"labels": f'{{{label}="x"}}', "value": each}]}
            ],
        }
        done = run(promtool, {"rule_files": [], "tests": [case]}, tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr


def test_scores_of_a_line_that_must_stop_sooner_may_not_wait_as_long(promtool: Path, tmp_path: Path) -> None:
    """Whatever their number: 1,000 of two a second were eight minutes late before anybody knew."""
    strict = rendered(Mode("factory", "plant"), "--set-json", "lines.labels-2.stop.max_age_s=2.5")
    waiting = {line("lag"): "6x40", line("scores_total"): "0+30x40"}
    assert fires(promtool, rules_of(strict, tmp_path), "AndonAlertingBehind", waiting, "8m")
    lax = rendered(Mode("factory", "plant"), "--set-json", "lines.labels-2.stop.max_age_s=3600")
    assert not fires(promtool, rules_of(lax, tmp_path), "AndonAlertingBehind", waiting, "8m")


@pytest.fixture(scope="module")
def kafka_rules(renders: dict[Mode, Render], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return rules_of(renders[Mode("factory-kafka", "plant")], tmp_path_factory.mktemp("kafka-rules"))


def of_kafka(**values: int) -> dict[str, str]:
    """Of one partition, as Strimzi's exporter tells."""
    of = '{namespace="plant", pod="kafka-kafka-exporter-6b7-x2", topic="frames", partition="0"}'
    return {f"kafka_topic_partition_{name}{of}": f"{value}x60" for name, value in values.items()}


def of_disk(used: int, pod: str) -> dict[str, str]:
    of = f'{{namespace="plant", persistentvolumeclaim="data-0-kafka-kafka-{pod}"}}'
    return {f"kubelet_volume_stats_used_bytes{of}": f"{used}x60", f"kubelet_volume_stats_capacity_bytes{of}": "100x60"}


EXAMPLES_OF_KAFKA: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "AndonKafkaNotSeen": ({}, {'up{namespace="plant", pod="kafka-kafka-exporter-6b7-x2"}': "1x60"}),
    "AndonKafkaRefusesWrites": (
        of_kafka(replicas=3, leader=1, in_sync_replica=1),
        of_kafka(replicas=3, leader=1, in_sync_replica=2),
    ),
    "AndonKafkaUnderReplicated": (of_kafka(under_replicated_partition=1), of_kafka(under_replicated_partition=0)),
    "AndonKafkaDiskFills": (of_disk(98, "brokers-0"), of_disk(97, "brokers-0")),
}
"""As EXAMPLES."""


def test_every_alert_of_kafka_has_an_example(renders: dict[Mode, Render]) -> None:
    assert alerts_of(renders[Mode("factory-kafka", "plant")]) == set(EXAMPLES_OF_KAFKA)


@pytest.mark.parametrize("alert", EXAMPLES_OF_KAFKA)
def test_an_alert_of_kafka_fires_and_stays_quiet(alert: str, promtool: Path, kafka_rules: Path) -> None:
    with_it, without = EXAMPLES_OF_KAFKA[alert]
    assert fires(promtool, kafka_rules, alert, with_it, "10m")
    assert not fires(promtool, kafka_rules, alert, without, "10m")


def test_a_partition_that_nobody_leads_takes_no_records(promtool: Path, kafka_rules: Path) -> None:
    """With a single copy its brokers in sync are as many as ever."""
    assert fires(promtool, kafka_rules, "AndonKafkaRefusesWrites", of_kafka(replicas=3, in_sync_replica=2), "10m")


def test_the_disk_of_each_pod_of_kafka_is_looked_at(
    promtool: Path, kafka_rules: Path, renders: dict[Mode, Render]
) -> None:
    """Strimzi calls a pod like cluster and pool, and its disk like the pod."""
    pools = [pool["metadata"]["name"] for pool in renders[Mode("factory-kafka", "plant")].of_kind("KafkaNodePool")]
    assert len(pools) == 2
    for pool in pools:
        disk = of_disk(98, f"{pool.removeprefix('kafka-')}-2")
        assert fires(promtool, kafka_rules, "AndonKafkaDiskFills", disk, "10m"), pool
