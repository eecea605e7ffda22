"""What the alerting worker counts, for Prometheus."""

from collections.abc import Iterable
from time import monotonic

from prometheus_client import CollectorRegistry, Counter, start_http_server
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from pipeline.events import Act, Alarm, AlarmKind
from pipeline.kafka.consumer import LoopState
from workers.alerting.effects import Effect

LOOPBACK = "127.0.0.1"


class Metrics:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._scores = self._counter("scores", "Scores that counted, by verdict.", "verdict")
        self._skipped = self._counter("skipped", "Records that counted for nothing, by reason.", "reason")
        self._unreadable = self._counter("unreadable", "Records that do not keep their contract.", "topic")
        self._alarms = self._counter("alarms", "Alarms raised.", "kind")
        self._late = self._counter("late", "Alarms that came too late to stop the line.")
        self._commands = self._counter("commands", "Line commands decided.", "action")

    def scored(self, verdict: str) -> None:
        self._scores.labels(verdict).inc()

    def skipped(self, reason: str) -> None:
        self._skipped.labels(reason).inc()

    def unreadable(self, topic: str) -> None:
        self._unreadable.labels(topic).inc()

    def decided(self, events: Iterable[Effect]) -> None:
        for event in events:
            if not isinstance(event, Alarm):
                self._commands.labels(event.action.value).inc()
            elif event.act is Act.RAISE:
                self._alarms.labels(event.kind.value).inc()
                if event.kind is AlarmKind.LATE:
                    self._late.inc()

    def watch(self, loop: LoopState) -> None:
        """Adds the loop's own numbers: lag, and how long ago it last turned."""
        self.registry.register(_LoopCollector(loop))

    def serve(self, port: int) -> None:
        """On loopback only: whoever wants it elsewhere puts a proxy with authentication before it."""
        start_http_server(port, addr=LOOPBACK, registry=self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"andon_alerting_{name}", text, labels, registry=self.registry)


class _LoopCollector(Collector):
    def __init__(self, loop: LoopState) -> None:
        self._loop = loop

    def collect(self) -> Iterable[Metric]:
        lag = GaugeMetricFamily("andon_alerting_lag", "Records still to be read.", labels=["topic", "partition"])
        for (topic, partition), records in self._loop.lag.items():
            lag.add_metric([topic, str(partition)], records)
        yield lag
        yield GaugeMetricFamily(
            "andon_alerting_idle_seconds",
            "Since the loop last turned; it turns several times a second when all is well.",
            value=monotonic() - self._loop.last_turn_monotonic_s,
        )
