"""What the alerting worker counts, for Prometheus."""

from collections.abc import Iterable
from contextlib import suppress
from time import monotonic

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from pipeline.events import Act, Action, Alarm, AlarmKind, CommandReply, LineCommand, Outcome, Verdict
from pipeline.kafka.step import LoopState
from workers.alerting.actuators.certificates import validities
from workers.alerting.actuators.config import OpcUaConfig
from workers.alerting.core.effects import Effect, Refusal, Takeover
from workers.alerting.core.silence import Watch
from workers.alerting.policy import Policies
from workers.observing import observe

STUCK_AFTER_S = 180
"""Above the longest that one turn may take: a batch, or taking over lines while Kafka comes back."""


KEPT_S = 86_400.0
"""Counters of a line outlast it here for so long: whoever reckons a rate has seen their last number by then."""


class Metrics:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._scores = self._counter("scores", "Scores that counted, by verdict.", "verdict", of=Verdict)
        self._skipped = self._counter("skipped", "Records that counted for nothing, by reason.", "reason")
        self._unreadable = self._counter("unreadable", "Records that do not keep their contract.", "topic")
        self._alarms = self._counter("alarms", "Alarms raised.", "kind", of=AlarmKind)
        self._late = self._counter("late", "Alarms that came too late to stop the line.")
        self._commands = self._counter("commands", "Line commands decided.", "action", of=Action)
        self._shadows = self._counter(
            "shadow_commands", "Commands that only a candidate or shadow mode decided.", "line"
        )
        self._replies = self._counter("replies", "What became of commands at the line.", "outcome", of=Outcome)
        self._refusals = self._counter("refusals", "Acts of people that were refused.", "act")
        self._takeovers = self._counter("takeovers", "Lines taken over.")
        self._stop_s = Histogram(
            "andon_alerting_capture_to_read_back_seconds",
            "From the capture of the frame that completed the evidence to the level read back from the line.",
            buckets=(0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 2, 5, 10, 30),
            registry=self.registry,
        )
        self._exchange_s = Histogram(
            "andon_alerting_plc_exchange_seconds",
            "One exchange with a PLC that came to its end.",
            ("line",),
            buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5),
            registry=self.registry,
        )
        self._exchange_failures = self._counter("plc_exchange_failures", "Exchanges with a PLC that failed.", "line")
        self._watched = self._gauge("watched_cameras", "Cameras that should see frames now.", "line")
        self._silent = self._gauge("silent_cameras", "Cameras whose frames are not scored any more.", "line")
        self._unproved = self._gauge("unproved_cameras", "Cameras not seen yet, and not missed for long.", "line")
        self._alive = self._gauge("line_watched", "1 while the heartbeat of the line's PLC may move.", "line")
        self._broken = self._gauge("state_unreadable", "1 for a line whose stored state can't be used.", "line")
        self._told_s: dict[str, float] = {}
        """When each line was last told of."""
        self._of_lines = (self._watched, self._silent, self._unproved, self._alive, self._broken)

    def scored(self, verdict: str) -> None:
        self._scores.labels(verdict).inc()

    def skipped(self, reason: str) -> None:
        self._skipped.labels(reason).inc()

    def unreadable(self, topic: str) -> None:
        self._unreadable.labels(topic).inc()

    def decided(self, events: Iterable[Effect]) -> None:
        for event in events:
            match event:
                case LineCommand() if event.simulated:
                    self._shadows.labels(event.line_id).inc()
                case LineCommand():
                    self._commands.labels(event.action.value).inc()
                case CommandReply():
                    self._replied(event)
                case Refusal():
                    self._refusals.labels(event.operation.act.value).inc()
                case Takeover():
                    self._takeovers.inc()
                case Alarm() if event.act is Act.RAISE:
                    self._alarms.labels(event.kind.value).inc()
                    if event.kind is AlarmKind.LATE:
                        self._late.inc()

    def watched(self, line_id: str, watch: Watch) -> None:
        self._watched.labels(line_id).set(watch.watched)
        self._silent.labels(line_id).set(len(watch.silent))
        self._unproved.labels(line_id).set(len(watch.unproved))
        self._alive.labels(line_id).set(watch.alive)
        self._shadows.labels(line_id)
        self._told_s[line_id] = monotonic()

    def state_unreadable(self, line_id: str) -> None:
        self._broken.labels(line_id).set(1)

    def forget_lines(self) -> None:
        """How they stand is told by whoever holds them now: a 0 that stays here would be an alert for ever."""
        for gauge in self._of_lines:
            gauge.clear()

    def forget_line(self, line_id: str) -> None:
        """One of which nothing is heard any more."""
        for gauge in self._of_lines:
            with suppress(KeyError):
                gauge.remove(line_id)

    def forget_counts(self) -> None:
        """Of lines that another worker has held, or nobody, for a day: they would pile up with each rebalance."""
        for line_id in [line_id for line_id, told_s in self._told_s.items() if monotonic() - told_s > KEPT_S]:
            del self._told_s[line_id]
            for counts in (self._shadows, self._exchange_s, self._exchange_failures):
                with suppress(KeyError):
                    counts.remove(line_id)

    def exchanged(self, line_id: str, seconds: float, good: bool) -> None:
        """Called from the drivers' threads."""
        if good:
            self._exchange_s.labels(line_id).observe(seconds)
        self._exchange_failures.labels(line_id).inc(not good)

    def _replied(self, reply: CommandReply) -> None:
        self._replies.labels(reply.outcome.value).inc()
        if reply.outcome is Outcome.ACCEPTED and reply.action is not Action.UNHOLD_PERMITTED:
            self._stop_s.observe((reply.observed_at - reply.captured_at).total_seconds())

    def watch(self, loop: LoopState) -> None:
        """Adds the loop's own numbers: lag, and how long ago it last turned."""
        self.registry.register(_LoopCollector(loop))

    def tell_policies(self, policies: Policies) -> None:
        """Two workers with other policies, as half of a roll-out leaves them, are seen by this alone."""
        self._gauge("policy_info", "1, with the digest of the policies in force.", "digest").labels(
            policies.digest
        ).set(1)

    def watch_certificates(self, policies: Policies) -> None:
        """Adds until when those of OPC UA hold, as their files say when they are asked for."""
        self.registry.register(_CertificateCollector(policies))

    def serve(self, loop: LoopState, host: str, port: int) -> None:
        """Metrics, whether the loop still turns, and whether it has begun."""

        def fault() -> str | None:
            still_s = monotonic() - loop.last_turn_monotonic_s
            return f"the loop has stood still for {still_s:.0f} s" if still_s > STUCK_AFTER_S else None

        def unready() -> str | None:
            return None if loop.at_work else "it has taken on no line yet: its log says what it waits for"

        observe(self.registry, fault, host, port, ready=unready)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"andon_alerting_{name}", text, labels, registry=self.registry)

    def _counter(self, name: str, text: str, *labels: str, of: Iterable[str] = ()) -> Counter:
        """of: what the label may be; each is there with 0 from the start. To Prometheus a first number is no increase,
        and a worker may see one stop in its life."""
        counter = Counter(f"andon_alerting_{name}", text, labels, registry=self.registry)
        for value in of:
            counter.labels(value)
        return counter


class _LoopCollector(Collector):
    def __init__(self, loop: LoopState) -> None:
        self._loop = loop

    def collect(self) -> Iterable[Metric]:
        lag = GaugeMetricFamily("andon_alerting_lag", "Records still to be read.", labels=["topic", "partition"])
        for (topic, partition), records in self._loop.lag.items():
            lag.add_metric([topic, str(partition)], records)
        yield lag
        yield CounterMetricFamily(
            "andon_alerting_deleted_unread",
            "Records that Kafka deleted before they were read.",
            value=self._loop.deleted_unread,
        )
        yield GaugeMetricFamily(
            "andon_alerting_idle_seconds",
            "Since the loop last turned; it turns several times a second when all is well.",
            value=monotonic() - self._loop.last_turn_monotonic_s,
        )


class _CertificateCollector(Collector):
    def __init__(self, policies: Policies) -> None:
        self._lines = {
            line_id: policy.actuator
            for line_id, policy in policies.lines.items()
            if isinstance(policy.actuator, OpcUaConfig)
        }

    def collect(self) -> Iterable[Metric]:
        ends = GaugeMetricFamily(
            "andon_alerting_plc_certificate_ends_seconds",
            "Until when a certificate of an OPC UA line holds, as Unix time.",
            labels=["line", "whose"],
        )
        for line_id, config in self._lines.items():
            for validity in validities(config):
                ends.add_metric([line_id, validity.whose], validity.ends.timestamp())
        yield ends
