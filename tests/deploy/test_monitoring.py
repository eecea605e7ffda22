"""Rules and dashboards speak of metrics that exist, in PromQL that Prometheus reads."""

import ast
import json
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import promql_parser
import pytest
from prometheus_client.metrics_core import Metric
from support.charts import CHARTS, Mode, Render, rendered

from workers.alerting.metrics import Metrics
from workers.alerting.policy import LinePolicy, Policies, Response
from workers.camera.buffer import Buffer, WhenFull
from workers.camera.metrics import CameraMetrics
from workers.console.gauges import Gauges
from workers.console.metrics import ConsoleMetrics

pytestmark = pytest.mark.unit

DASHBOARDS = sorted((CHARTS / "factory" / "files" / "dashboards").glob("*.json"))
SERVING = Path(__file__).parents[2] / "pipeline" / "serving.py"
METRICS_PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
FROM_THE_SCRAPE = {"le", "namespace", "pod", "instance", "job", "factory", "component"}
OTHERS: dict[str, tuple[str, ...]] = {"up": (), "ray_serve_autoscaling_target_replicas": ("application", "deployment")}
"""Prometheus' own, and Ray Serve's: tests/cluster/test_serving.py sees that it tells it."""
Exported = Iterator[tuple[str, tuple[str, ...]]]


def exported() -> dict[str, tuple[str, ...]]:
    """Every metric that Prometheus will find: name → labels."""
    return dict([*_ours(), *_rays()]) | OTHERS


def _ours() -> Exported:
    """From the collectors themselves."""
    from pipeline.kafka.step import LoopState

    alerting = Metrics()
    alerting.watch(LoopState())
    policies = Policies(defaults=LinePolicy(k=1, n=1, action=Response.ALARM_ONLY))
    alerting.watch_certificates(policies)
    alerting.tell_policies(policies)
    spool: Any = SimpleNamespace(file_bytes=0, max_bytes=0)
    camera = CameraMetrics([], Buffer(2**23, WhenFull.DROP_OLDEST, lambda: None), dict, lambda: 0.0, spool)
    page: Any = SimpleNamespace(
        reader=SimpleNamespace(alive=True, fault=None),
        gauges=SimpleNamespace(now=Gauges()),
        feedback=SimpleNamespace(path=Path(__file__)),
    )
    for collector in [*alerting.registry._collector_to_names, camera, ConsoleMetrics(page)]:
        for metric in collector.collect():
            # A Counter, Gauge or Histogram knows its labels itself; what a collector of ours makes knows them instead.
            labels = getattr(collector, "_labelnames", None)
            for name in _samples(metric):
                yield name, tuple(metric._labelnames if labels is None else labels)  # type: ignore[attr-defined]


def _samples(metric: Metric) -> list[str]:
    endings = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}
    return [metric.name + ending for ending in endings.get(metric.type, [""])]


def buckets_of_stages() -> list[int]:
    """From the source, as below."""
    calls = [node for node in ast.walk(ast.parse(SERVING.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    (found,) = (
        call.args[2] for call in calls if isinstance(call.func, ast.Attribute) and call.func.attr == "Histogram"
    )
    return list(ast.literal_eval(found))


def _rays() -> Exported:
    """From the source: Ray's metrics can be made within Ray only. It puts ray_ in front and _total behind counters."""
    for node in ast.walk(ast.parse(SERVING.read_text(encoding="utf-8"))):
        match node:
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id="metrics"), attr=kind), args=[ast.Constant(value=name), *more]
            ):
                labels = [ast.literal_eval(one) for one in more if isinstance(one, ast.Tuple)]
                for ending in {"Counter": ["_total"], "Gauge": [""], "Histogram": ["_bucket", "_sum", "_count"]}[kind]:
                    yield f"ray_{name}{ending}", labels[0] if labels else ()


def documented() -> dict[str, tuple[str, ...]]:
    """Name → labels, as docs/metrics.md has them."""
    rows = re.findall(r"^\| `(\w+)(?:\{([\w,]+)\})?` \| ([^|]+) \|$", METRICS_PAGE.read_text(), re.MULTILINE)
    endings = ("_bucket", "_sum", "_count")
    return {
        name + ending: tuple(labels.split(",")) if labels else ()
        for name, labels, what in rows
        for ending in (endings if what.startswith("histogram") else ("",))
    }


def rules(render: Render) -> list[dict[str, Any]]:
    return [rule for group in render.one("PrometheusRule")["spec"]["groups"] for rule in group["rules"]]


def expressions_of(dashboard: Path) -> list[str]:
    content = json.loads(dashboard.read_text(encoding="utf-8"))
    queries = [entry["query"] for entry in content["templating"]["list"] if entry["type"] == "query"]
    metrics = [re.match(r"label_values\((.*), \w+\)$", query).group(1) for query in queries]  # type: ignore[union-attr]
    return metrics + [target["expr"] for panel in content["panels"] for target in panel["targets"]]


def names_in(expression: str) -> set[str]:
    return {
        node.name
        for node in parts_of(promql_parser.parse(expression))
        if isinstance(node, promql_parser.VectorSelector)
    }


def parts_of(expression: Any) -> list[Any]:
    """The expression itself and everything that it is made of."""
    found: list[Any] = []

    def visit(node: Any) -> None:
        found.append(node)
        for part in ("lhs", "rhs", "expr", "vector_selector"):
            if (inner := getattr(node, part, None)) is not None:
                visit(inner)
        arguments = getattr(node, "args", None)
        for inner in arguments if isinstance(arguments, list) else []:
            visit(inner)

    visit(expression)
    return found


def labels_in(expression: str) -> Iterator[tuple[str, str]]:
    """Metric and label, wherever it is asked for: selected, grouped or joined by."""
    for node in parts_of(promql_parser.parse(expression)):
        if isinstance(node, promql_parser.VectorSelector):
            yield from ((node.name, matcher.name) for matcher in node.matchers.matchers)
            continue
        modifier = getattr(node, "modifier", None)
        asked = getattr(modifier, "labels", None) or getattr(getattr(modifier, "matching", None), "labels", None) or ()
        selectors = [one for one in parts_of(node) if isinstance(one, promql_parser.VectorSelector)]
        yield from ((one.name, label) for one in selectors for label in asked)


def test_names_are_found_wherever_they_stand() -> None:
    """Guards the test itself: a walk that misses a place would let any name pass."""
    assert names_in("sum by (a) (rate(x_total{b='c'}[1m])) > 0 or absent(up == 1) and (y or vector(0)) == 0") == {
        "x_total",
        "up",
        "y",
    }
    assert names_in("histogram_quantile(0.95, sum by (le) (rate(z_bucket[5m])))") == {"z_bucket"}


def test_the_page_lists_what_there_is_and_nothing_else() -> None:
    assert documented() == {name: labels for name, labels in exported().items() if name not in OTHERS}


def test_labels_are_found_wherever_they_stand() -> None:
    """Guards the test itself, as above."""
    assert set(labels_in("sum by (a) (rate(x_total{b='c'}[1m])) > 0 and on (d) y")) == {
        ("x_total", "a"), ("x_total", "b"), ("x_total", "d"), ("y", "d")
    }  # fmt: skip


def test_rules_and_dashboards_ask_for_labels_that_their_metrics_have(plant: Render) -> None:
    asked = [rule["expr"] for rule in rules(plant)]
    asked += [re.sub(r"\$\w+", "x", one) for dashboard in DASHBOARDS for one in expressions_of(dashboard)]
    known = exported()
    for expression in asked:
        for metric, label in labels_in(expression):
            assert label in {*known[metric], *FROM_THE_SCRAPE}, f"{expression}: {metric} has no {label}"


def test_rules_speak_of_metrics_that_exist(plant: Render) -> None:
    known = exported().keys()
    for rule in rules(plant):
        names = names_in(rule["expr"])
        assert names, rule["alert"]
        assert names <= known, f"{rule['alert']}: {names - known}"


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda path: path.stem)
def test_dashboards_speak_of_metrics_that_exist(dashboard: Path) -> None:
    known = exported().keys()
    expressions = expressions_of(dashboard)
    assert len(expressions) >= 5
    for expression in expressions:
        names = names_in(re.sub(r"\$\w+", "x", expression))
        assert names, expression
        assert names <= known, f"{expression}: {names - known}"


def test_what_a_plant_is_judged_by_is_shown() -> None:
    """Above all how long it takes from a defect to a line that stands."""
    expressions = [re.sub(r"\$\w+", "x", one) for dashboard in DASHBOARDS for one in expressions_of(dashboard)]
    shown = {name for expression in expressions for name in names_in(expression)}
    assert shown >= {
        "andon_alerting_capture_to_read_back_seconds_bucket",
        "andon_alerting_replies_total",
        "andon_alerting_plc_exchange_seconds_bucket",
        "andon_alerting_plc_exchange_failures_total",
        "andon_alerting_silent_cameras",
        "andon_alerting_unproved_cameras",
        "ray_serve_autoscaling_target_replicas",
    }


def test_a_backlog_of_minutes_can_be_told_from_one_of_seconds() -> None:
    """Quantiles end at the last bucket: what waited for an hour was shown as five seconds."""
    buckets = buckets_of_stages()
    assert buckets == sorted(buckets)
    assert buckets[-1] >= 600_000
    assert all(high <= 10 * low for low, high in pairwise(buckets))


def test_every_rule_says_what_it_means_and_how_bad_it_is(plant: Render) -> None:
    for rule in rules(plant):
        assert rule["labels"]["severity"] in ("critical", "warning"), rule["alert"]
        assert rule["annotations"]["summary"], rule["alert"]
        assert rule["annotations"]["description"], rule["alert"]


def test_the_faults_of_a_factory_each_have_a_rule(plant: Render) -> None:
    wanted = {"AndonNoFramesScored", "AndonBacklog", "AndonDeadLetters", "AndonHeartbeatStale", "AndonCameraSilent"}
    assert wanted <= {rule["alert"] for rule in rules(plant)}


def test_a_page_that_was_put_away_is_not_missed() -> None:
    """AndonPageBlind would fire for ever."""
    away = rendered(Mode("factory", "plant"), "--set", "console.replicas=0").one("PrometheusRule")
    assert "AndonPageBlind" not in {rule["alert"] for group in away["spec"]["groups"] for rule in group["rules"]}


def test_rules_speak_of_this_factory_alone(plant: Render) -> None:
    for rule in rules(plant):
        selectors = re.findall(r"\{([^{}]*)\}", rule["expr"])
        assert selectors, rule["alert"]
        assert all('namespace="plant"' in s and 'factory="factory"' in s for s in selectors), rule["alert"]


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda path: path.stem)
def test_dashboards_show_one_factory_at_a_time(dashboard: Path) -> None:
    """Two namespaces may each have a release called `factory`: their figures were added up."""
    which_there_are, which_in_it, *shown = expressions_of(dashboard)
    # Every factory has an alerting worker; its cameras may all be sent by boxes at the lines.
    assert which_there_are == "andon_alerting_idle_seconds"
    assert which_in_it == 'andon_alerting_idle_seconds{namespace="$namespace"}'
    for expression in shown:
        selectors = re.findall(r"\{([^{}]*)\}", expression)
        assert selectors, expression
        assert all('namespace="$namespace",factory="$factory"' in s for s in selectors), expression


def test_every_monitored_pod_has_the_port_that_its_monitor_reads(plant: Render) -> None:
    for monitor in plant.of_kind("PodMonitor"):
        wanted = monitor["spec"]["selector"]["matchLabels"]
        pods = [pod for pod in plant.pods().values() if wanted.items() <= pod["metadata"]["labels"].items()]
        assert pods, monitor["metadata"]["name"]
        for pod in pods:
            ports = [port["name"] for port in pod["spec"]["containers"][0].get("ports", [])]
            assert monitor["spec"]["podMetricsEndpoints"][0]["port"] in ports
