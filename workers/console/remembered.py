"""What is remembered of one camera, alarm, line or frame. Each is bounded; what of them is kept is `Memory`'s."""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from pipeline.events import (
    Act,
    Action,
    Alarm,
    AlarmKind,
    AlarmState,
    BootEnd,
    CommandReply,
    Heartbeat,
    LineCommand,
    Score,
)
from workers.alerting.core.lifecycle import ANDON
from workers.alerting.core.state import FORGOTTEN_AFTER

SCORES_PER_CAMERA = 60
GONE_AFTER = timedelta(minutes=10)
"""A camera that nobody heard of for so long gives its place to one that reports, where there are too many."""
CHANGES_PER_ALARM = 60
PER_LINE = 50
_GO_ON = frozenset({AlarmKind.PLC, AlarmKind.NOT_STOPPED})
"""Kinds whose fault may turn into another while they stand."""

STATE_WORDS = {
    AlarmState.NORMAL: "over",
    AlarmState.UNACK_ACTIVE: "not acknowledged",
    AlarmState.ACK_ACTIVE: "acknowledged",
    AlarmState.UNACK_RTN: "over, not acknowledged",
    AlarmState.UNACK_LATCHED: "latched, not acknowledged",
    AlarmState.ACK_LATCHED: "latched, acknowledged",
    AlarmState.SHELVED: "shelved",
    AlarmState.SUPPRESSED: "hidden by another",
}
"""The states of ISA-18.2 for who never read it."""


@dataclass
class Scored:
    """Frames of one boot with a score, each once, since this page watches it."""

    first: int
    last: int
    count: int = 0


@dataclass
class CameraMemory:
    camera_id: str
    line_id: str
    scores: deque[Score] = field(default_factory=lambda: deque(maxlen=SCORES_PER_CAMERA))
    beats: OrderedDict[str, Heartbeat] = field(default_factory=OrderedDict)
    """Boot → its last heartbeat; the boot that was heard of last is last."""
    current: str | None = None
    """The boot that the heartbeats tell of."""
    heard_at: datetime | None = None
    """When that boot was heard last, by this page's clock: a camera box's may be anything."""
    scored: dict[str, Scored] = field(default_factory=dict)
    """By boot."""
    dead: dict[str, Counter[str]] = field(default_factory=dict)
    """Boot → its dead letters by reason."""

    @property
    def last(self) -> Score | None:
        return self.scores[-1] if self.scores else None

    @property
    def beat(self) -> Heartbeat | None:
        """Of the current boot."""
        return self.beats[self.current] if self.current else None

    def is_forgotten(self, at: datetime) -> bool:
        """As alerting has it: what was renamed or taken down must not look broken for as long as Kafka tells of it."""
        return at - max(self._heard(), default=at) > FORGOTTEN_AFTER

    def has_gone(self, at: datetime) -> bool:
        """Whether its place is free where another needs one: it ended in good order, or was not heard of for long."""
        ended = self.beat is not None and self.beat.end is BootEnd.CLEAN
        return ended or at - max(self._heard(), default=at) > GONE_AFTER

    def _heard(self) -> list[datetime]:
        return [known for known in (self.heard_at, seen_at(self.last) if self.last else None) if known is not None]


class Change(NamedTuple):
    """What is told of one change of an alarm. All of it, with its evidence, is ten times as much."""

    changed_at: datetime
    act: Act
    actor: str
    reason: str
    state: AlarmState
    shelved_until: datetime | None

    @classmethod
    def of(cls, alarm: Alarm) -> Change:
        return cls(*(getattr(alarm, name) for name in cls._fields))


@dataclass
class AlarmMemory:
    latest: Alarm
    changes: dict[int, Change] = field(default_factory=dict)
    """By revision: what stood before this page began is learnt before its history."""

    cause: str = ""
    """Why it was raised last, or how it goes on; of one that was raised before this page's memory, the last word."""
    _raised: int = 0

    @property
    def over(self) -> bool:
        return self.latest.state is AlarmState.NORMAL

    def add(self, alarm: Alarm) -> None:
        self.changes[alarm.revision] = Change.of(alarm)
        if len(self.changes) > CHANGES_PER_ALARM:
            self.changes.pop(min(self.changes))
        if alarm.revision >= self.latest.revision:
            self.latest = alarm
        if _tells_why(alarm) and alarm.revision > self._raised:
            self.cause, self._raised = alarm.reason, alarm.revision
        elif not self._raised:
            self.cause = self.latest.reason


def _tells_why(alarm: Alarm) -> bool:
    """What Andon notes of a PLC is how its fault goes on: one that was away may have come back as another line's."""
    goes_on = alarm.kind in _GO_ON and alarm.act is Act.NOTE and alarm.actor == ANDON
    return alarm.act is Act.RAISE or goes_on


@dataclass
class LineMemory:
    line_id: str
    command: LineCommand | None = None
    """The last that was meant for the line."""
    commands: deque[LineCommand] = field(default_factory=lambda: deque(maxlen=PER_LINE))
    replies: deque[CommandReply] = field(default_factory=lambda: deque(maxlen=PER_LINE))
    shadow: LineCommand | None = None
    """The last that was only told."""

    @property
    def level(self) -> Action | None:
        """What Andon asks of the line now."""
        if self.command is None or self.command.action is Action.UNHOLD_PERMITTED:
            return None
        return self.command.action

    @property
    def reply(self) -> CommandReply | None:
        """To the command in force."""
        if self.command is None:
            return None
        found = [reply for reply in self.replies if reply.command_id == self.command.command_id]
        return found[-1] if found else None


@dataclass(frozen=True)
class ActOutcome:
    """What became of an operation that a person asked for."""

    done: bool
    words: str
    at: datetime


@dataclass(frozen=True)
class DeadFrame:
    place: tuple[int, int]
    """(partition, offset) in `frames.dead`"""
    died_at: datetime
    camera_id: str
    reason: str
    detail: str
    size: int


def seen_at(score: Score) -> datetime:
    """No frame was taken after it was scored: a camera's clock that is ahead makes no old picture new."""
    return min(score.captured_at, score.scored_at)
