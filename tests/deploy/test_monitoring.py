"""Rules and dashboards speak of metrics that exist, in PromQL that Prometheus reads."""

import json
import re
from collections.abc import Iterator
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
FROM_THE_SCRAPE = {"le", "namespace", "pod", "instance", "job", "factory"}
OTHERS = {"up"}
"""Prometheus' own."""


def exported_names() -> set[str]:
    """Every metric name that Prometheus will find."""
    return {*_ours(), *_rays(), *OTHERS}


def _ours() -> Iterator[str]:
    """From the collectors themselves."""
    from pipeline.kafka.consumer import LoopState

    alerting = Metrics()
    alerting.watch(LoopState())
    policies = Policies(defaults=LinePolicy(k=1, n=1, action=Response.ALARM_ONLY))
    alerting.watch_certificates(policies)
    alerting.tell_policies(policies)
    camera = CameraMetrics([], Buffer(2**23, WhenFull.DROP_OLDEST, lambda: None), dict, lambda: 0.0)
    page: Any = SimpleNamespace(
        reader=SimpleNamespace(alive=True, fault=None),
        gauges=SimpleNamespace(now=Gauges()),
        feedback=SimpleNamespace(path=Path(__file__)),
    )
    for metric in [*alerting.registry.collect(), *camera.collect(), *ConsoleMetrics(page).collect()]:
        yield from _samples(metric)


def _samples(metric: Metric) -> list[str]:
    endings = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}
    return [metric.name + ending for ending in endings.get(metric.type, [""])]


def _rays() -> Iterator[str]:
    """From the source: Ray's metrics can be made within Ray only. It puts ray_ in front and _total behind counters."""
    for kind, name in re.findall(r"metrics\.(Counter|Gauge|Histogram)\(\s*\"(\w+)\"", SERVING.read_text()):
        for ending in {"Counter": ["_total"], "Gauge": [""], "Histogram": ["_bucket", "_sum", "_count"]}[kind]:
            yield f"ray_{name}{ending}"


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
    found: set[str] = set()

    def visit(node: Any) -> None:
        if isinstance(node, promql_parser.VectorSelector):
            found.add(node.name)
        for part in ("lhs", "rhs", "expr", "vector_selector"):
            if (inner := getattr(node, part, None)) is not None:
                visit(inner)
        arguments = getattr(node, "args", None)
        for inner in arguments if isinstance(arguments, list) else []:
            visit(inner)

    visit(promql_parser.parse(expression))
    return found


def test_names_are_found_wherever_they_stand() -> None:
    """Guards the test itself: a walk that misses a place would let any name pass."""
    assert names_in("sum by (a) (rate(x_total{b='c'}[1m])) > 0 or absent(up == 1) and (y or vector(0)) == 0") == {
        "x_total",
        "up",
        "y",
    }
    assert names_in("histogram_quantile(0.95, sum by (le) (rate(z_bucket[5m])))") == {"z_bucket"}


def test_the_page_lists_what_there_is_and_nothing_else() -> None:
    assert set(documented()) == exported_names() - OTHERS


def test_rules_and_dashboards_ask_for_labels_that_the_page_names(plant: Render) -> None:
    asked = [rule["expr"] for rule in rules(plant)]
    asked += [one for dashboard in DASHBOARDS for one in expressions_of(dashboard)]
    labels = {label for names in documented().values() for label in names}
    for expression in asked:
        for group in re.findall(r"by \(([^)]*)\)", expression):
            unknown = {label.strip() for label in group.split(",")} - labels - FROM_THE_SCRAPE
            assert not unknown, f"{expression}: {unknown}"


def test_rules_speak_of_metrics_that_exist(plant: Render) -> None:
    known = exported_names()
    for rule in rules(plant):
        names = names_in(rule["expr"])
        assert names, rule["alert"]
        assert names <= known, f"{rule['alert']}: {names - known}"


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda path: path.stem)
def test_dashboards_speak_of_metrics_that_exist(dashboard: Path) -> None:
    known = exported_names()
    expressions = expressions_of(dashboard)
    assert len(expressions) >= 5
    for expression in expressions:
        names = names_in(re.sub(r"\$\w+", "x", expression))
        assert names, expression
        assert names <= known, f"{expression}: {names - known}"


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
