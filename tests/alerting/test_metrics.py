import re
from pathlib import Path

import pytest

from pipeline.kafka.consumer import LoopState
from workers.alerting.metrics import Metrics

pytestmark = pytest.mark.unit

DOCS = Path(__file__).parents[2] / "docs" / "metrics.md"


def test_the_docs_list_exactly_the_metrics_that_there_are_with_their_labels() -> None:
    metrics = Metrics()
    metrics.watch(LoopState())
    told = dict(re.findall(r"^\| `(andon_alerting_[a-z_]+)(?:\{([a-z,]+)\})?` \|", DOCS.read_text(), re.MULTILINE))
    collectors = metrics.registry._collector_to_names
    labels = {
        name + ("_total" if family.type == "counter" else ""): ",".join(getattr(collector, "_labelnames", ()))
        for collector in collectors
        for family in collector.collect()
        for name in [family.name]
    }
    labels["andon_alerting_lag"] = "topic,partition"
    assert told == labels
