"""The first span of a frame's trace: from its capture to Kafka's acknowledgement."""

from pipeline.events import from_ms, now
from pipeline.tracing import HEADER, Tracer, is_sampled
from workers.camera.parcel import Parcel


def publish_span(tracer: Tracer, parcel: Parcel) -> None:
    facts = {name: value.decode() for name, value in parcel.headers}
    traceparent = facts.get(HEADER)
    if is_sampled(traceparent):
        attributes = {name: facts[name] for name in ("frame_id", "camera_id", "line_id", "recipe")}
        attributes["bytes"] = str(len(parcel.image))
        tracer.span("capture", traceparent, None, from_ms(int(facts["captured_at"])), now(), attributes)
