"""What a replica found in one frame."""

from collections.abc import Mapping
from enum import StrEnum

from pydantic import Field

from pipeline.events.contract import MAX_SEQUENCE, SCHEMA_VERSION, Contract, Name, Version
from pipeline.events.moments import Moment

MAX_LABEL = 256


class Verdict(StrEnum):
    OK = "OK"
    NOT_OK = "NOT_OK"
    NOT_DECIDABLE = "NOT_DECIDABLE"
    """Not inspected, which is never the same as no defect (OPC 40001-101)."""


class Doubt(StrEnum):
    """Why a frame is NOT_DECIDABLE: it could be decoded, but not judged."""

    FROZEN = "frozen"
    DARK = "dark"
    BRIGHT = "bright"
    BLURRED = "blurred"
    LATE = "late"
    FUTURE = "future"
    WRONG_SIZE = "wrong_size"


class ModelRef(Contract):
    """Which model judged."""

    bundle: str = Field(max_length=MAX_LABEL)
    """Its name."""
    method: str = Field(max_length=MAX_LABEL)
    """Such as radar or cflow."""
    hash: str = Field(max_length=MAX_LABEL)
    """Of weights, hyper-parameters and threshold together."""


class KafkaPosition(Contract):
    topic: str
    """With the prefix of the factory."""
    partition: int
    """Within the topic."""
    offset: int
    """Within the partition."""


class ShadowSkip(StrEnum):
    """Why the shadow did not look at a frame. The live verdict stands all the same."""

    BACKLOG = "backlog"
    """Frames wait in Kafka: they go first."""
    SLOW = "slow"
    """It did not answer in time, or its last pass is not over yet or was so slow that it rests."""
    FAILED = "failed"
    """It raised."""
    NOT_LOADED = "not_loaded"
    """Its bundle is not there or does not fit."""


class ShadowScore(Contract):
    """What the bundle that is tried beside the live one says of the same frame. It moves nothing."""

    bundle: str
    """As the recipe names it."""
    verdict: Verdict | None
    """None where it did not look, which `skipped` explains."""
    skipped: ShadowSkip | None = None
    """Why it did not look."""
    doubts: tuple[Doubt, ...] = ()
    """As of a score."""
    score: float | None
    """Raw, as of a score; by the other model, so on another scale."""
    threshold: float | None
    """Of the other model."""
    model: ModelRef | None
    """None where it was not loaded."""


class Score(Contract):
    """What was found in one frame."""

    schema_version: Version = SCHEMA_VERSION
    frame_id: str = Field(max_length=256)
    """camera_id:boot_id:sequence."""
    camera_id: Name
    line_id: Name
    station_id: Name
    boot_id: Name
    sequence: int = Field(ge=0, le=MAX_SEQUENCE)
    """As the camera numbered the frame."""
    part_id: str = Field(max_length=128)
    """The inspected part. Several frames may show one part."""
    recipe: Name
    captured_at: Moment
    """When the camera had the picture."""
    scored_at: Moment
    """When the replica had the verdict."""
    verdict: Verdict
    """NOT_DECIDABLE: not inspected, which is never the same as no defect."""
    doubts: tuple[Doubt, ...] = Field(default=(), max_length=16)
    """Empty unless NOT_DECIDABLE."""
    score: float | None
    """Raw: the higher, the more anomalous. None where the model could not look at the frame at all."""
    threshold: float
    """NOT_OK at it and above it."""
    rank: float | None = Field(default=None, ge=0, le=1)
    """The share of the calibration's normals at or below this score, between the quantiles that the bundle stores."""
    features: Mapping[str, float] = Field(default_factory=dict)
    """Name → value of what else the model found; which there are depends on the method."""
    model: ModelRef
    """That judged this frame, or would have."""
    map_key: str | None = Field(max_length=512)
    """Redis hash with the anomaly map and the thumbnail."""
    map_expires_at: Moment | None
    """When Redis forgets the map, at the latest."""
    timings_ms: Mapping[str, float] = Field(default_factory=dict)
    """Stage → milliseconds: transit (capture to broker), queue (in Kafka), decode, wait, infer (the whole batch),
    shadow (waited for it, the whole batch)."""
    position: KafkaPosition
    """Of the frame's record."""
    shadow: ShadowScore | None = None
    """Where the recipe names a shadow bundle."""
    traceparent: str | None = Field(default=None, max_length=128)
    """W3C trace context, of the span that scored."""
