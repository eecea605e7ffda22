"""Trace contexts as W3C has them, and spans to an OpenTelemetry collector where one is named.

The camera makes a frame's context and decides whether it is sampled; everyone after it makes a child. A child's id
follows from its parent's and its name, so what is done again after a crash has the same id, and the pure core stays
pure. Contexts always travel. Spans are made only where OTEL_EXPORTER_OTLP_ENDPOINT is set; until then nothing of
OpenTelemetry is imported.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING

from pipeline.extras import install

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import SpanContext

log = logging.getLogger(__name__)

HEADER = "traceparent"
SHUTDOWN_S = 5.0
"""So long the end of a process waits for a collector to take the last spans."""

_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")
_SAMPLED = 1

Attributes = Mapping[str, str | float | int | bool]


def root(ratio: float) -> str:
    """A new context. ratio: the share of contexts that are sampled, decided as TraceIdRatioBased does."""
    trace_id, span_id = os.urandom(16), os.urandom(8)
    sampled = ratio > 0 and int.from_bytes(trace_id[8:], "big") < ratio * 2**64
    return f"00-{trace_id.hex()}-{span_id.hex()}-{'01' if sampled else '00'}"


def child(parent: str | None, name: str) -> str | None:
    """The same trace, another span. None where the parent is none, or not what W3C says."""
    found = _TRACEPARENT.fullmatch(parent or "")
    if found is None:
        return None
    span_id = hashlib.sha256(f"{found[1]}/{found[2]}/{name}".encode()).hexdigest()[:16]
    return f"00-{found[1]}-{span_id}-{found[3]}"


def is_sampled(traceparent: str | None) -> bool:
    found = _TRACEPARENT.fullmatch(traceparent or "")
    return found is not None and bool(int(found[3], 16) & _SAMPLED)


def headers(traceparent: str | None) -> tuple[tuple[str, bytes], ...]:
    """Of a Kafka record, for whoever reads contexts without reading values."""
    return ((HEADER, traceparent.encode()),) if traceparent else ()


def ratio_of(environment: Mapping[str, str]) -> float:
    """The share of frames that a camera samples, by OTEL_TRACES_SAMPLER and OTEL_TRACES_SAMPLER_ARG; all of them where
    only a collector is named, none where nothing is."""
    sampler = environment.get("OTEL_TRACES_SAMPLER", "").strip().lower().removeprefix("parentbased_")
    match sampler:
        case "":
            return 1.0 if _collector(environment) else 0.0
        case "always_on":
            return 1.0
        case "always_off":
            return 0.0
        case "traceidratio":
            try:
                return min(1.0, max(0.0, float(environment.get("OTEL_TRACES_SAMPLER_ARG") or 1)))
            except ValueError:
                log.error("OTEL_TRACES_SAMPLER_ARG is no number between 0 and 1: no frame is sampled")
                return 0.0
    log.error("OTEL_TRACES_SAMPLER=%s is unknown here: no frame is sampled", sampler)
    return 0.0


class Tracer:
    """Hands finished spans to the SDK, whose queue is bounded: when the collector is slow or away, spans are lost and
    nothing waits. Thread-safe."""

    def __init__(self, provider: TracerProvider, ids: _Ids) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("andon")
        self._ids = ids

    def span(
        self,
        name: str,
        traceparent: str | None,
        parent: str | None,
        begin: datetime,
        end: datetime,
        attributes: Attributes,
    ) -> None:
        """traceparent: of the span itself; parent: None for the first of a trace. What is not sampled is left out."""
        if not is_sampled(traceparent):
            return
        from opentelemetry.context import Context
        from opentelemetry.trace import NonRecordingSpan, set_span_in_context

        above = set_span_in_context(NonRecordingSpan(_context(parent)), Context()) if parent else Context()
        with self._ids.are_of(_context(traceparent)):
            span = self._tracer.start_span(name, above, attributes=dict(attributes), start_time=_ns(begin))
        span.end(max(_ns(begin), _ns(end)))

    def close(self) -> None:
        """Waits a little for the collector."""
        ending = threading.Thread(target=self._provider.shutdown, name="tracing-end", daemon=True)
        ending.start()
        ending.join(SHUTDOWN_S)


def open_tracer(service: str, environment: Mapping[str, str] | None = None) -> Tracer | None:
    """None where no collector is named; where the extra is not installed, too, since a line is watched all the same.

    service: `service.name`, unless OTEL_SERVICE_NAME or OTEL_RESOURCE_ATTRIBUTES says otherwise.
    """
    environment = os.environ if environment is None else environment
    if not _collector(environment):
        return None
    protocol = environment.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or environment.get("OTEL_EXPORTER_OTLP_PROTOCOL")
    if protocol not in (None, "", "http/protobuf"):
        log.error("spans go out as http/protobuf only, not %s: none are sent", protocol)
        return None
    try:
        return _open(service)
    except ImportError as error:
        log.error("no spans are sent: %s is missing; %s", error.name, install("trace"))
        return None


def _collector(environment: Mapping[str, str]) -> bool:
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    if environment.get("OTEL_TRACES_EXPORTER", "otlp").strip().lower() not in ("", "otlp"):
        return False
    return bool(environment.get("OTEL_EXPORTER_OTLP_ENDPOINT") or environment.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"))


def _open(service: str) -> Tracer:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import ALWAYS_ON

    ids = _Ids()
    resource = Resource.create()
    if str(resource.attributes["service.name"]).startswith("unknown_service"):
        resource = resource.merge(Resource({"service.name": service}))
    # Sampled is what the camera sampled; this provider is asked for nothing else.
    provider = TracerProvider(sampler=ALWAYS_ON, resource=resource, id_generator=ids, shutdown_on_exit=False)  # type: ignore[arg-type]
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Tracer(provider, ids)


class _Ids:
    """An IdGenerator that gives the ids which already travel in the events."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._next: SpanContext | None = None

    @contextmanager
    def are_of(self, context: SpanContext) -> Iterator[None]:
        with self._lock:
            self._next = context
            yield

    def generate_span_id(self) -> int:
        return self._next.span_id if self._next else 0

    def generate_trace_id(self) -> int:
        return self._next.trace_id if self._next else 0

    def is_trace_id_random(self) -> bool:
        return False


def _context(traceparent: str | None) -> SpanContext:
    from opentelemetry.trace import SpanContext, TraceFlags

    found = _TRACEPARENT.fullmatch(traceparent or "")
    assert found is not None
    return SpanContext(int(found[1], 16), int(found[2], 16), is_remote=True, trace_flags=TraceFlags(int(found[3], 16)))


def _ns(moment: datetime) -> int:
    return round(moment.timestamp() * 1_000_000) * 1000
