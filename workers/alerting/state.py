"""All that alerting remembers of a line, as it is stored in the topic `line-state`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline.errors import AndonError
from pipeline.events import Alarm, AlarmKind, LineCommand, Moment, Score
from workers.alerting.window import Window

MAX_BOOTS = 4
"""Boots whose place is remembered per camera. More than one is alive while a new worker empties an old spool."""
MAX_CAMERAS = 64
"""Per line. Beyond it the camera that was silent longest is forgotten, so renamed cameras don't pile up for ever."""


class StateError(AndonError):
    """A stored state that can't be read. Starting without it would forget latched alarms, so nobody may."""


class _Stored(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Boot(_Stored):
    """How far one boot of a camera was counted. Kafka keeps its frames in order, so what is not newer is a repeat."""

    boot_id: str
    sequence: int


class Camera(_Stored):
    boots: tuple[Boot, ...] = ()
    """Most recently heard last."""
    parts: Window = ()
    frames: Window = ()
    captured_at: Moment
    """Of the last frame counted."""

    def counted_to(self, boot_id: str) -> int | None:
        return next((boot.sequence for boot in self.boots if boot.boot_id == boot_id), None)

    def heard(self, score: Score) -> Camera:
        others = tuple(boot for boot in self.boots if boot.boot_id != score.boot_id)
        now_at = Boot(boot_id=score.boot_id, sequence=score.sequence)
        return self.model_copy(update={"boots": (*others, now_at)[-MAX_BOOTS:], "captured_at": score.captured_at})

    def forget_evidence(self) -> Camera:
        """The place stays: a frame counted before must not count again."""
        return self.model_copy(update={"parts": (), "frames": ()})


class Latched(_Stored):
    """An alarm that stands until it is reset."""

    alarm: Alarm
    cameras: tuple[str, ...]
    """Which cameras it already speaks of. Each is mentioned once."""


class Episode(_Stored):
    """From the first alarm of a line until its reset. At most one HOLD."""

    episode_id: str
    hold: LineCommand | None = None


class Applied(_Stored):
    """The offsets that the state stands for: everything of the line up to and including them."""

    scores: int = -1
    operations: int = -1


class Outbox(_Stored):
    """What was decided together with this state and has to be published after it."""

    alarms: tuple[Alarm, ...] = ()
    commands: tuple[LineCommand, ...] = ()
    alarms_from: int = 0
    """No event of this outbox lies before this offset of its topic: where a successor looks for what got out."""
    commands_from: int = 0

    @property
    def is_empty(self) -> bool:
        return not (self.alarms or self.commands)


class LineState(_Stored):
    """Frozen: every step makes a new one."""

    schema_version: Literal[1] = 1
    line_id: str
    cameras: Mapping[str, Camera] = Field(default_factory=dict)
    episode: Episode | None = None
    latched: tuple[Latched, ...] = ()
    """One per kind at most, in the order of raising."""
    applied: Applied = Applied()
    outbox: Outbox = Outbox()

    def latched_as(self, kind: AlarmKind) -> Latched | None:
        return next((entry for entry in self.latched if entry.alarm.kind is kind), None)

    def with_latched(self, changed: Latched) -> LineState:
        """Replaces the alarm of the same kind, or adds it."""
        kinds = [entry.alarm.kind for entry in self.latched]
        if changed.alarm.kind not in kinds:
            return self.model_copy(update={"latched": (*self.latched, changed)})
        kept = tuple(changed if entry.alarm.kind is changed.alarm.kind else entry for entry in self.latched)
        return self.model_copy(update={"latched": kept})

    def with_camera(self, camera_id: str, camera: Camera) -> LineState:
        cameras = {**self.cameras, camera_id: camera}
        if len(cameras) > MAX_CAMERAS:
            del cameras[min(cameras.keys() - {camera_id}, key=lambda name: cameras[name].captured_at)]
        return self.model_copy(update={"cameras": cameras})

    def to_json(self) -> bytes:
        return self.model_dump_json().encode()

    @classmethod
    def from_json(cls, value: bytes, place: str) -> LineState:
        """Raises StateError."""
        try:
            return cls.model_validate_json(value)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise StateError(
                f"the line state at {place} can't be read ({'.'.join(map(str, first['loc']))}: {first['msg']}); "
                "was it written by a newer Andon? Run that version, so that no latched alarm is forgotten"
            ) from error
