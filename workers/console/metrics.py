"""What the page shows to Prometheus: whether it sees the factory, and the backlogs that it sees."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from pipeline import groups
from workers.console.desk import Desk
from workers.console.feedback import FeedbackStore
from workers.console.pages.events import listeners
from workers.observing import observe


class ConsoleMetrics(Collector):
    """Looks when it is asked."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def collect(self) -> Iterable[Metric]:
        reader, gauges = self._desk.reader, self._desk.gauges.now
        yield GaugeMetricFamily(
            "andon_console_reading",
            "1 while the page follows Kafka; 0 when what it shows is old.",
            value=float(reader.alive and reader.fault is None),
        )
        waiting = GaugeMetricFamily(
            "andon_console_waiting",
            "Records that a consumer group has not read, as the broker tells. Known also when the group is dead.",
            labels=["group"],
        )
        # A look that failed tells nothing new.
        if gauges.fault is None:
            waiting.add_metric([groups.INSPECTION], gauges.inspection.waiting)
            waiting.add_metric([groups.ALERTING], gauges.alerting.waiting)
        yield waiting
        yield GaugeMetricFamily("andon_console_browsers", "Browsers that listen.", value=float(listeners()))
        yield GaugeMetricFamily(
            "andon_console_feedback_bytes", "Of the feedback file.", value=float(_size(self._desk.feedback))
        )

    def describe(self) -> Iterable[Metric]:
        """Nothing: a registry would collect in order to know."""
        return ()


def _size(store: FeedbackStore) -> int:
    try:
        return store.path.stat().st_size
    except OSError:
        return 0


@contextmanager
def exporting(desk: Desk, host: str, port: int | None) -> Iterator[None]:
    """Serves `/metrics` and `/healthz` until the block ends, if there is a port. Raises AndonError when it is taken."""
    if port is None:
        yield
        return
    registry = CollectorRegistry()
    registry.register(ConsoleMetrics(desk))
    close = observe(registry, lambda: None if desk.reader.alive else "the reading thread is dead", host, port)
    try:
        yield
    finally:
        close()
