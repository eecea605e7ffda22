"""All that alerting remembers of a line, as it is stored in the topic `line-state`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline.errors import AndonError
from pipeline.events import (
    Action,
    Alarm,
    AlarmKind,
    AlarmState,
    AuditEntry,
    CommandReply,
    LineCommand,
    Moment,
    Score,
)
from workers.alerting.core.lifecycle import Life
from workers.alerting.core.window import Window

MAX_BOOTS = 4
"""Boots whose place is remembered per camera. More than one is alive while a new worker empties an old spool."""
MAX_CAMERAS = 64
"""Per line. One more is not watched, and told of; none of these loses its evidence for it."""
FORGOTTEN_AFTER = timedelta(days=1)
"""A camera that is silent for so long was taken away, and makes room: renamed cameras don't pile up for ever."""
CLOCKS_DIFFER = timedelta(seconds=5)
"""By so much two workers' clocks may. What is dated longer after now is of one that was ahead."""
MAX_CROWDED_OUT = 16
CROWDED_OUT_FOR = timedelta(minutes=10)
"""For so long after its last frame a camera without room is told of."""


class StateError(AndonError):
    """A stored state that can't be read. Starting without it would forget latched alarms, so nobody may."""


class NewerStateError(StateError):
    """A later Andon wrote it: to that one it is well."""


class _Stored(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Boot(_Stored):
    """How far one boot of a camera was counted. Kafka keeps its frames in order, so what is not newer is a repeat."""

    boot_id: str
    sequence: int


class Spread(_Stored):
    """How the scores of one camera under one model lie among the quantiles of the calibration; see drift.py."""

    model_hash: str
    counts: tuple[float, ...] = ()
    frames: int = 0


class Trial(_Stored):
    """What a candidate has seen of one camera, and whether it would have the line stopped now."""

    model_hash: str | None = None
    """Of the shadow bundle; None for a threshold on the live scores."""
    parts: Window = ()
    frames: Window = ()
    parts_full_since: Moment | None = None
    frames_full_since: Moment | None = None
    stopped: bool = False


class Camera(_Stored):
    boots: tuple[Boot, ...] = ()
    """Most recently heard last."""
    parts: Window = ()
    frames: Window = ()
    parts_full_since: Moment | None = None
    """Capture of the frame that made the window full; None while it is not."""
    frames_full_since: Moment | None = None
    captured_at: Moment
    """Of the last frame counted."""
    scored_at: Moment | None = None
    """Never later than when it was read: a replica's clock that is ahead must not keep a dead camera alive."""
    late_since: Moment | None = None
    """Since when its frames are known too late to stop the line; None where the last was in time."""
    spread: Spread | None = None
    trials: Mapping[str, Trial] = Field(default_factory=dict)

    @property
    def heard_at(self) -> datetime:
        """By the clock of a replica, since a camera's may be anything."""
        return self.scored_at or self.captured_at

    @property
    def proved_at(self) -> datetime:
        """Until when it was watched: a frame that comes too late to stop the line proves nothing."""
        return self.late_since or self.heard_at

    def counted_to(self, boot_id: str) -> int | None:
        return next((boot.sequence for boot in self.boots if boot.boot_id == boot_id), None)

    def heard(self, score: Score, late_since: datetime | None, now: datetime) -> Camera:
        others = tuple(boot for boot in self.boots if boot.boot_id != score.boot_id)
        now_at = Boot(boot_id=score.boot_id, sequence=score.sequence)
        return self.model_copy(
            update={
                "boots": (*others, now_at)[-MAX_BOOTS:],
                "captured_at": score.captured_at,
                "scored_at": min(score.scored_at, now),
                "late_since": late_since,
            }
        )

    def forget_evidence(self) -> Camera:
        """The place stays: a frame counted before must not count again."""
        return self.model_copy(update={"parts": (), "frames": (), "parts_full_since": None, "frames_full_since": None})


class Standing(_Stored):
    """An alarm that is not over."""

    alarm: Alarm
    cameras: tuple[str, ...] = ()
    """Which cameras it already speaks of, each mentioned once; of a common cause, those that agreed last."""
    raised_again_at: Moment | None = None
    """When its cause was last back before the alarm was over."""
    good_since: Moment | None = None
    """Since when its cause is gone; it counts as gone after the off-delay."""
    suppressed: bool = False
    acknowledged_level: Action | None = None
    """What the line was asked for when a person acknowledged it last; None where it was to run."""

    @property
    def active_since(self) -> Moment:
        """When it was last raised. Whoever asked for something earlier did not know of it."""
        return self.raised_again_at or self.alarm.raised_at

    @property
    def life(self) -> Life:
        alarm = self.alarm
        return Life(alarm.underneath, alarm.latching, alarm.shelved_until, self.suppressed)


class Episode(_Stored):
    """From the first alarm of a line that may stop it until the reset. At most one command at a time."""

    episode_id: str
    command: LineCommand | None = None
    beneath: LineCommand | None = None
    """The REJECT that `command`, a stop, has taken the place of: asked for again where that expires."""
    not_stopped: bool = False
    """A stop was given up, and none was confirmed since: with a REJECT beneath it the line runs on."""
    void: LineCommand | None = None
    """The last that expired before the line confirmed it. It may have reached somebody all the same: a reset takes it
    back."""
    unsent: bool = False
    """Whether `void` expired before it was published. Then that is owed once the line confirms it after all."""
    given_up: int = 0
    """How many expired so: the next command is another one, and has an id of its own."""


class Applied(_Stored):
    """The offsets that the state stands for: everything of the line up to and including them."""

    scores: int = -1
    scores_ms: int | None = None
    """The latest time that Kafka gave one of these scores. None in a state of before this was kept."""
    operations: int = -1
    operations_ms: int | None = None
    """As `scores_ms`."""


class Outbox(_Stored):
    """What was decided together with this state and has to be published after it."""

    alarms: tuple[Alarm, ...] = ()
    commands: tuple[LineCommand, ...] = ()
    shadows: tuple[LineCommand, ...] = ()
    replies: tuple[CommandReply, ...] = ()
    audit: tuple[AuditEntry, ...] = ()
    alarms_from: int = 0
    """No event of this outbox lies before this offset of its topic: where a successor looks for what got out."""
    commands_from: int = 0

    @property
    def owes(self) -> bool:
        """Whether a successor has to look in the topics what of it got out. The rest may be sent again unlooked."""
        return bool(self.alarms or self.commands)


class LineState(_Stored):
    """Frozen: every step makes a new one."""

    schema_version: Literal[2] = 2
    line_id: str
    epoch: int = 0
    """Counted up by each worker that takes the line over, before it does anything else."""
    cameras: Mapping[str, Camera] = Field(default_factory=dict)
    crowded_out: Mapping[str, Moment] = Field(default_factory=dict)
    """Cameras that found no room, and when the last frame of each was read."""
    episode: Episode | None = None
    alarms: tuple[Standing, ...] = ()
    """In the order of raising. One for each kind, and for kinds that speak of a camera, one for each camera."""
    raised: int = 0
    """How many alarms were ever raised: gives each its number."""
    raised_at: tuple[Moment, ...] = ()
    """When alarms were raised lately, for the flood rule."""
    stopped_at: tuple[Moment, ...] = ()
    """When the line was stopped lately, for the budget."""
    last_command: LineCommand | None = None
    """What Andon last asked of the line; None when it never asked for anything."""
    proved: bool = False
    """Whether the last command was read back from the line."""
    stands_at: str | None = None
    """The PLC that confirmed a stop and has confirmed no release since; forgotten by a reset without it, once told."""
    stands_on: tuple[str, ...] = ()
    """Where in it the stop was written, as far as its address does not say so."""
    stop_of: str | None = None
    """The episode whose stop may stand at the line: it was asked for, and nothing else was confirmed since."""
    stop_moved: bool = False
    """Whether the policy has named another PLC since, or `restore-line` set the state back. What stands there is
    another's, or it is the same device by another name: nobody can tell."""
    named: str | None = None
    """The PLC that the policy of the last takeover named, and where in it is written."""
    audited: int = 0
    """Number of the last audit entry."""
    applied: Applied = Applied()
    outbox: Outbox = Outbox()

    def standing(self, kind: AlarmKind, camera_id: str | None = None) -> Standing | None:
        """By kind; with `camera_id`, the one that speaks of this camera."""
        return next(
            (entry for entry in self.alarms if entry.alarm.kind is kind and camera_id in (None, entry.alarm.camera_id)),
            None,
        )

    @property
    def latched(self) -> tuple[Standing, ...]:
        return tuple(entry for entry in self.alarms if entry.alarm.latching)

    @property
    def level(self) -> Action | None:
        """What the line is asked to do now; None where it may run."""
        command = self.episode and self.episode.command
        return command.action if command else None

    @property
    def stop_was_reset(self) -> bool:
        """Whether a stop may stand at the line that a person has reset since."""
        return self.stop_of is not None and (self.episode is None or self.episode.episode_id != self.stop_of)

    @property
    def over_own(self) -> bool:
        """Whether what is asked for may take the place of a stop that stands at the line, as one that was reset. Where
        nobody can tell, a REJECT waits, with which the line would run; a release does not, since a stop of ours would
        stand for good."""
        releases = self.last_command is not None and self.last_command.action is Action.UNHOLD_PERMITTED
        return self.stop_was_reset and (releases or not self.stop_moved)

    @property
    def asked(self) -> LineCommand | None:
        """What a reset takes back."""
        return (self.episode.command or self.episode.void) if self.episode else None

    def with_alarm(self, changed: Standing) -> LineState:
        """Replaces the alarm of the same id, or adds it; one that is over is left out."""
        ids = [entry.alarm.alarm_id for entry in self.alarms]
        if changed.alarm.alarm_id not in ids:
            return self if changed.life.over else self.model_copy(update={"alarms": (*self.alarms, changed)})
        kept = (changed if entry.alarm.alarm_id == changed.alarm.alarm_id else entry for entry in self.alarms)
        return self.model_copy(update={"alarms": tuple(entry for entry in kept if not entry.life.over)})

    def has_room_for(self, camera_id: str, heard_at: datetime) -> bool:
        """Whether this camera is known, or may be from now on."""
        if camera_id in self.cameras or len(self.cameras) < MAX_CAMERAS:
            return True
        return heard_at - min(camera.heard_at for camera in self.cameras.values()) > FORGOTTEN_AFTER

    def with_camera(self, camera_id: str, camera: Camera) -> LineState:
        """Where there is room for it."""
        cameras = {**self.cameras, camera_id: camera}
        if len(cameras) > MAX_CAMERAS:
            del cameras[min(cameras.keys() - {camera_id}, key=lambda name: cameras[name].heard_at)]
        waiting = {name: at for name, at in self.crowded_out.items() if name != camera_id}
        return self.model_copy(update={"cameras": cameras, "crowded_out": waiting})

    def with_crowded_out(self, camera_id: str, now: datetime) -> LineState:
        """The first that came stay named: names that took turns would be raised and cleared without end."""
        told = {name: at for name, at in self.crowded_out.items() if now - at <= CROWDED_OUT_FOR}
        if camera_id in told or len(told) < MAX_CROWDED_OUT:
            told[camera_id] = now
        return self.model_copy(update={"crowded_out": told})

    def to_json(self) -> bytes:
        return self.model_dump_json().encode()

    @classmethod
    def from_json(cls, value: bytes, place: str, line_id: str = "?") -> LineState:
        """`line_id`: as its key has it. Raises StateError."""
        try:
            state = cls.model_validate_json(value)
        except ValidationError as error:
            raise _unreadable(error, place, line_id) from error
        asked = state.last_command or state.asked
        if "stop_of" in state.model_fields_set or asked is None or (state.proved and not asked.action.stops):
            return state
        return state.model_copy(update={"stop_of": asked.episode_id})  # of before this was kept: its stop may stand


def _unreadable(error: ValidationError, place: str, line_id: str) -> StateError:
    """Whole JSON with a word that this version does not have, as the kind of an alarm, is no damage."""
    first = error.errors(include_url=False)[0]
    newer = first["type"] == "enum" or (first["loc"][-1:] == ("schema_version",) and isinstance(first["input"], int))
    advice = (
        "it was written by a newer Andon: run that version, so that no latched alarm is forgotten"
        if newer
        else "it is damaged. Stop every alerting worker, and put back the last one that can be read: "
        f"`andon alerting restore-line {line_id}` says what that is, and with --yes does it"
    )
    why = f"{'.'.join(map(str, first['loc']))}: {first['msg']}".removeprefix(": ")
    return (NewerStateError if newer else StateError)(
        f"the state of line {line_id!r} at {place} can't be read ({why}); {advice}"
    )


def shown(life: Life) -> dict[str, AlarmState | None]:
    """The fields of an alarm that tell its state."""
    covered = life.shown is not life.state
    return {"state": life.shown, "beneath": life.state if covered else None}
