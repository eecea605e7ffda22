"""Prometheus metrics, read from the ledger when somebody asks: they cost a frame nothing."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from workers.camera.buffer import Buffer
from workers.camera.feeder import Feeder
from workers.camera.ledger import DropReason, Tally
from workers.camera.parcel import Owner
from workers.camera.spool.store import Spool
from workers.observing import Health, observe


class CameraMetrics(Collector):
    """Counters are this boot's; the spool's gauge counts the frames of former boots too."""

    def __init__(
        self,
        feeders: list[Feeder],
        buffer: Buffer,
        tallies: Callable[[], Mapping[Owner, Tally]],
        heartbeat_age_s: Callable[[], float],
        spool: Spool | None = None,
    ) -> None:
        self._feeders = feeders
        self._buffer = buffer
        self._tallies = tallies
        self._heartbeat_age_s = heartbeat_age_s
        self._spool = spool

    def collect(self) -> Iterable[Metric]:
        tallies = self._tallies()
        captured = CounterMetricFamily("andon_camera_captured", "Frames that got a number.", labels=["camera"])
        published = CounterMetricFamily("andon_camera_published", "Frames that Kafka has.", labels=["camera"])
        dropped = CounterMetricFamily("andon_camera_dropped", "Frames given up.", labels=["camera", "reason"])
        failures = CounterMetricFamily("andon_camera_source_failures", "Lost connections.", labels=["camera"])
        connected = GaugeMetricFamily("andon_camera_source_connected", "1 while images come.", labels=["camera"])
        for feeder in self._feeders:
            labels = [feeder.owner.camera_id]
            tally = tallies.get(feeder.owner, Tally())
            captured.add_metric(labels, tally.captured)
            published.add_metric(labels, tally.published)
            failures.add_metric(labels, feeder.failures)
            connected.add_metric(labels, feeder.connected)
            # Each from the start: what first appears with a number is, to Prometheus, no increase.
            for reason, frames in ({reason.value: 0 for reason in DropReason} | dict(tally.dropped)).items():
                dropped.add_metric([*labels, reason], frames)
        spooled = GaugeMetricFamily("andon_camera_spooled", "Frames on disk.", labels=["camera"])
        for camera_id, frames in _spooled(tallies).items():
            spooled.add_metric([camera_id], frames)
        buffer = GaugeMetricFamily("andon_camera_buffer_bytes", "Waiting in memory.", value=self._buffer.size_bytes)
        heartbeat = GaugeMetricFamily(
            "andon_camera_heartbeat_age_seconds",
            "Since Kafka took a heartbeat, or since the start. It beats every second when all is well.",
            value=self._heartbeat_age_s(),
        )
        return [captured, published, dropped, failures, connected, spooled, *self._of_spool(), buffer, heartbeat]

    def _of_spool(self) -> Iterator[Metric]:
        """Frames say nothing of how long it will do: they may be of any size."""
        if self._spool:
            yield GaugeMetricFamily("andon_camera_spool_bytes", "Of frames on disk.", value=self._spool.file_bytes)
            yield GaugeMetricFamily("andon_camera_spool_max_bytes", "What they may take.", value=self._spool.max_bytes)


def serve_metrics(metrics: CameraMetrics, health: Health, host: str, port: int) -> Callable[[], None]:
    """Returns what ends it."""
    registry = CollectorRegistry()
    registry.register(metrics)
    return observe(registry, health, host, port)


def _spooled(tallies: Mapping[Owner, Tally]) -> dict[str, int]:
    frames: dict[str, int] = defaultdict(int)
    for owner, tally in tallies.items():
        frames[owner.camera_id] += tally.spooled
    return frames
