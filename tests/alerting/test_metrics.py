import re
from pathlib import Path

import pytest

from pipeline.events import Action, AlarmKind, Outcome, Verdict
from pipeline.kafka.publisher import Publisher
from pipeline.kafka.step import LoopState
from pipeline.settings import Settings
from workers.alerting.core.silence import Watch
from workers.alerting.metrics import KEPT_S, Metrics
from workers.alerting.policy import Policies
from workers.alerting.worker import AlertingStep

pytestmark = pytest.mark.unit

DOCS = Path(__file__).parents[2] / "docs" / "metrics.md"


def test_the_docs_list_exactly_the_metrics_that_there_are_with_their_labels() -> None:
    metrics = Metrics()
    metrics.watch(LoopState())
    policies = Policies.model_validate({"defaults": {"k": 3, "n": 5, "action": "HOLD"}})
    metrics.watch_certificates(policies)
    metrics.tell_policies(policies)
    told = dict(re.findall(r"^\| `(andon_alerting_[a-z_]+)(?:\{([a-z,]+)\})?` \|", DOCS.read_text(), re.MULTILINE))
    collectors = metrics.registry._collector_to_names
    labels = {
        name + ("_total" if family.type == "counter" else ""): ",".join(getattr(collector, "_labelnames", ()))
        for collector in collectors
        for family in collector.collect()
        for name in [family.name]
    }
    labels["andon_alerting_lag"] = "topic,partition"
    labels["andon_alerting_plc_certificate_ends_seconds"] = "line,whose"
    assert told == labels


def test_a_first_alarm_and_a_first_stop_are_an_increase() -> None:
    """To Prometheus a counter that comes with 1 has not grown: the dashboard showed neither."""
    metrics = Metrics()
    metrics.watched("line-1", Watch(watched=1, silent={}, unproved=frozenset(), well={}, gone={}))
    metrics.exchanged("line-1", 0.01, good=True)
    for name, labels in (
        ("alarms", {"kind": AlarmKind.DEFECTS}),
        ("commands", {"action": Action.HOLD}),
        ("replies", {"outcome": Outcome.ACCEPTED}),
        ("scores", {"verdict": Verdict.NOT_OK}),
        ("shadow_commands", {"line": "line-1"}),
        ("plc_exchange_failures", {"line": "line-1"}),
    ):
        assert metrics.registry.get_sample_value(f"andon_alerting_{name}_total", labels) == 0, name
    metrics.exchanged("line-1", 0.01, good=False)
    assert metrics.registry.get_sample_value("andon_alerting_plc_exchange_failures_total", {"line": "line-1"}) == 1


def test_a_worker_tells_nothing_of_lines_that_another_holds_now() -> None:
    """AndonLineNotWatched looks at the least of all workers: it told for ever of a line that had moved while silent."""
    metrics, settings = Metrics(), Settings()
    step = AlertingStep(
        settings,
        Policies.model_validate({"defaults": {"k": 3, "n": 5, "action": "HOLD"}}),
        Publisher(settings, "x"),
        metrics,
    )
    metrics.watched("line-1", Watch(watched=1, silent={"cam-1": "no frames"}, unproved=frozenset(), well={}, gone={}))
    assert metrics.registry.get_sample_value("andon_alerting_line_watched", {"line": "line-1"}) == 0
    step.assigned(())
    gauges = [family for family in metrics.registry.collect() if family.type == "gauge"]
    assert not {sample.name for family in gauges for sample in family.samples if "line" in sample.labels}


def test_counts_of_a_line_that_another_holds_are_kept_for_a_day(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rate needs them for a while; for ever, each line that was once held here had its fourteen series."""
    at_s = [0.0]
    monkeypatch.setattr("workers.alerting.metrics.monotonic", lambda: at_s[0])
    metrics, watch = Metrics(), Watch(watched=1, silent={}, unproved=frozenset(), well={}, gone={})

    def counted() -> set[str]:
        families = list(metrics.registry.collect())
        return {sample.labels["line"] for family in families for sample in family.samples if "line" in sample.labels}

    for line_id in ("stays", "goes"):
        metrics.watched(line_id, watch)
        metrics.exchanged(line_id, 0.01, good=True)
    metrics.forget_lines()
    for at_s[0] in (KEPT_S, KEPT_S + 1):
        metrics.watched("stays", watch)
        metrics.forget_counts()
        assert counted() == ({"stays", "goes"} if at_s[0] == KEPT_S else {"stays"})
