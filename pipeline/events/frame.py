"""A captured image, as the camera worker sends it."""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Literal, Self

from pydantic import Field, ValidationError

from pipeline.events.contract import MAX_SEQUENCE, SCHEMA_VERSION, Contract, ContractError, Name, Version, sentence
from pipeline.events.moments import Moment, from_ms, to_ms

Headers = Sequence[tuple[str, bytes]]

CHECK = "andon-check"
"""Camera, line and station of the frame that `andon check` sends. It is scored and accounted for as any, and is on no
line: nothing is judged by it, and no page shows it."""


class Frame(Contract):
    """The facts of one captured image. `camera_id`, `boot_id` and `sequence` together name it for ever."""

    schema_version: Version = SCHEMA_VERSION
    camera_id: Name
    line_id: Name
    station_id: Name
    recipe: Name
    """What is being made, hence which bundle judges it."""
    boot_id: Name
    """One run of one camera worker. Sorts by start time."""
    sequence: int = Field(ge=0, le=MAX_SEQUENCE)
    """Counts every captured frame of this boot from 0, also those that are dropped later."""
    part_id: str = Field(min_length=1, max_length=128)
    """The inspected part. Several frames may show one part."""
    captured_at: Moment
    """When the camera had the picture."""
    content_type: Literal["image/png", "image/jpeg"]
    """Of the image."""
    repeats: int = Field(default=0, ge=0)
    """How many frames in a row, directly before this one, held the same bytes. A camera that froze shows here."""
    traceparent: str | None = Field(default=None, max_length=128)
    """W3C trace context, when the producer sends one."""

    @property
    def frame_id(self) -> str:
        return f"{self.camera_id}:{self.boot_id}:{self.sequence}"

    def to_headers(self) -> list[tuple[str, bytes]]:
        """Kafka headers, all UTF-8 text; `captured_at` as Unix milliseconds."""
        return [("frame_id", self.frame_id.encode())] + [
            (name, str(to_ms(value) if isinstance(value, datetime) else value).encode())
            for name, value in self.__dict__.items()
            if value is not None
        ]

    @classmethod
    def from_headers(cls, headers: Headers) -> Self:
        """Raises ContractError for missing or wrong headers, another schema version, a frame_id that belies them."""
        facts = _decode_headers(headers)
        claimed = facts.pop("frame_id", None)
        missing = [name for name, field in cls.model_fields.items() if name not in facts and field.is_required()]
        if missing:
            raise ContractError(f"header {', '.join(missing)} is missing")
        if "schema_version" not in facts:
            raise ContractError("header schema_version is missing")
        if facts["schema_version"] != str(SCHEMA_VERSION):
            raise ContractError(
                f"schema_version {facts['schema_version']!r} is unknown; this reader knows {SCHEMA_VERSION}"
            )
        try:
            captured_at = from_ms(int(facts["captured_at"]))
        except (ValueError, OverflowError, OSError) as error:
            raise ContractError(f"header captured_at {facts['captured_at']!r} is not Unix milliseconds") from error
        try:
            frame = cls.model_validate({**facts, "schema_version": SCHEMA_VERSION, "captured_at": captured_at})
        except ValidationError as error:
            raise ContractError(f"header {sentence(error)}") from error
        if claimed is not None and claimed != frame.frame_id:
            raise ContractError(
                f"header frame_id {claimed!r} belies camera, boot and sequence, which say {frame.frame_id!r}"
            )
        return frame


def _decode_headers(headers: Headers) -> dict[str, str]:
    try:
        return {name: value.decode() for name, value in headers}
    except (UnicodeDecodeError, AttributeError) as error:
        raise ContractError("a header is not UTF-8 text") from error


class DeadReason(StrEnum):
    """Why a frame can't be scored."""

    CONTRACT = "contract"
    """Missing or wrong headers, or another schema version."""
    UNKNOWN_CAMERA = "unknown_camera"
    """No recipe knows this camera or what it says it looks at."""
    EMPTY = "empty"
    TOO_LARGE = "too_large"
    """More bytes, or more pixels once decoded, or more passes over them, than is allowed (a decompression bomb)."""
    UNDECODABLE = "undecodable"
    DUPLICATE_SEQUENCE = "duplicate_sequence"
    """A frame id that an earlier, different frame already used."""
    SCORING_FAILED = "scoring_failed"
    """The model raised, or what looks at the picture before it did. The frame may be all right."""
    UNREADABLE = "unreadable"
    """The record itself can't be read: a codec, a header's name, damage on disk. Its place is all that is known."""
