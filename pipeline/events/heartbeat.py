"""What a camera worker counts."""

from collections.abc import Mapping
from enum import StrEnum

from pydantic import Field

from pipeline.events.contract import SCHEMA_VERSION, Contract, Name, Version
from pipeline.events.moments import Moment


class BootEnd(StrEnum):
    RUNNING = "running"
    CLEAN = "clean"
    """The worker ended in good order: these counters are final."""
    DIED = "died"
    """The worker was killed; its successor found the spool and reports what was left."""


class Heartbeat(Contract):
    """A camera's own count of its frames, since its boot. What `andon audit` holds every other count against."""

    schema_version: Version = SCHEMA_VERSION
    camera_id: Name
    line_id: Name
    boot_id: Name
    captured: int = Field(ge=0)
    """Frames that got a sequence number; the next one is number `captured`."""
    published: int = Field(ge=0)
    """Acknowledged by Kafka."""
    dropped: Mapping[str, int] = Field(default_factory=dict)
    """Reason → frames given up."""
    buffered: int = Field(ge=0)
    """In memory, on the way to Kafka."""
    spooled: int = Field(ge=0)
    """On disk, until Kafka is back."""
    source_connected: bool
    """Whether the worker gets pictures from the camera."""
    end: BootEnd = BootEnd.RUNNING
    """Whether this boot still runs, and how it ended."""
    sent_at: Moment
    """By the camera box's clock."""
