"""What the page remembers of the factory: folded from Kafka, bounded everywhere. Thread-safe."""

from __future__ import annotations

import re
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from threading import Lock
from uuid import UUID

from pipeline.boots import succeeds
from pipeline.events import (
    CHECK,
    Act,
    Action,
    Alarm,
    AlarmState,
    AuditEntry,
    CommandReply,
    ContractError,
    Heartbeat,
    LineCommand,
    Score,
    from_ms,
    now,
)
from pipeline.kafka.dead_letters import cause_of_death
from pipeline.kafka.records import Incoming
from pipeline.topics import Topics
from workers.alerting.core.state import FORGOTTEN_AFTER
from workers.console.remembered import (
    STATE_WORDS,
    ActOutcome,
    AlarmMemory,
    CameraMemory,
    Change,
    DeadFrame,
    LineMemory,
    Scored,
)

MAX_CAMERAS = 1024
ROOM_EVERY_S = 10.0
"""So often a full memory looks for a camera that has gone."""
MAX_LINES = 1024
MAX_BOOTS = 4
ALARMS_FOR = timedelta(days=7)
MAX_ALARMS = 2000
"""That are over. Standing ones are never forgotten."""
AUDIT = 2000
DEAD_FOR = timedelta(days=1)
DEAD = 1000
OUTCOMES = 1000
_BEHIND = timedelta(minutes=1)
"""A frame of a clock that is further behind is late, and not inspected."""


class Memory:
    """One writer (the reader's thread), many readers."""

    def __init__(self, topics: Topics) -> None:
        self._lock = Lock()
        self._cameras: dict[str, CameraMemory] = {}
        self._left_out: dict[str, datetime] = {}
        """Camera → when it was last heard of, although there was no room for it."""
        self._full_until_s = 0.0
        self._alarms: OrderedDict[UUID, AlarmMemory] = OrderedDict()
        self._lines: dict[str, LineMemory] = {}
        self._audit: deque[AuditEntry] = deque(maxlen=AUDIT)
        self._dead: deque[DeadFrame] = deque(maxlen=DEAD)
        self._outcomes: OrderedDict[UUID, ActOutcome] = OrderedDict()
        self.unreadable: Counter[str] = Counter()
        self._of_lines = (topics.alarms.name, topics.line_commands.name, topics.command_replies.name)
        self.alarm_changes = 0
        """Counts up with every change: pages compare it."""
        self._folds: dict[str, Callable[[Incoming], None]] = {
            topics.scores.name: lambda record: self._score(Score.from_json(record.value)),
            topics.heartbeats.name: lambda record: self._beat(Heartbeat.from_json(record.value)),
            topics.alarms.name: lambda record: self.tell_alarm(Alarm.from_json(record.value)),
            topics.line_commands.name: lambda record: self.tell_command(LineCommand.from_json(record.value)),
            topics.shadow_commands.name: lambda record: self._shadow(LineCommand.from_json(record.value)),
            topics.command_replies.name: lambda record: self._reply(CommandReply.from_json(record.value)),
            topics.audit_log.name: lambda record: self._entry(AuditEntry.from_json(record.value)),
            topics.frames_dead.name: self._dead_frame,
        }

    @property
    def topics(self) -> Sequence[str]:
        return list(self._folds)

    def read(self, record: Incoming) -> None:
        """A record that does not keep its contract is counted and skipped; `andon audit` judges."""
        try:
            self._folds[record.topic](record)
        except ContractError:
            self.unreadable[record.topic] += 1

    # What pages ask

    @property
    def untold(self) -> int:
        """Records of alarms, commands and replies that could not be read: a page that is older than the alerting worker
        would leave them out in silence."""
        return sum(self.unreadable[topic] for topic in self._of_lines)

    @property
    def left_out(self) -> int:
        """Cameras that are heard of, and not held."""
        at = now()
        with self._lock:
            return sum(at - heard_at <= FORGOTTEN_AFTER for heard_at in self._left_out.values())

    def cameras(self) -> list[CameraMemory]:
        """By line and name."""
        with self._lock:
            found = list(self._cameras.values())
        return sorted(found, key=lambda camera: (by_number(camera.line_id), by_number(camera.camera_id)))

    def recent(self, camera_id: str) -> list[Score]:
        """Oldest first."""
        with self._lock:
            camera = self._cameras.get(camera_id)
            return list(camera.scores) if camera else []

    def score_of(self, frame_id: str) -> Score | None:
        camera_id = frame_id.split(":", 1)[0]
        return next((score for score in self.recent(camera_id) if score.frame_id == frame_id), None)

    def lines(self) -> list[str]:
        with self._lock:
            cameras = {camera.line_id for camera in self._cameras.values()}
            alarms = {known.latest.line_id for known in self._alarms.values()}
            # By name, too: `line-1` and `line-01` must not change places from look to look.
            return sorted(sorted(cameras | alarms | set(self._lines)), key=by_number)

    def line(self, line_id: str) -> LineMemory:
        """As it stands now."""
        with self._lock:
            known = self._lines.get(line_id) or LineMemory(line_id)
            return replace(known, commands=known.commands.copy(), replies=known.replies.copy())

    def standing(self, line_id: str | None = None) -> list[Alarm]:
        """Oldest first."""
        with self._lock:
            found = [
                known.latest
                for known in self._alarms.values()
                if not known.over and line_id in (None, known.latest.line_id)
            ]
        return sorted(found, key=lambda alarm: alarm.raised_at)

    def alarms(self) -> list[Alarm]:
        """What stands, and what is over since a week at most; newest change first."""
        since = now() - ALARMS_FOR
        with self._lock:
            known = [known.latest for known in self._alarms.values()]
        found = [alarm for alarm in known if alarm.changed_at > since or alarm.state is not AlarmState.NORMAL]
        return sorted(found, key=lambda alarm: alarm.changed_at, reverse=True)

    def alarm(self, alarm_id: UUID) -> Alarm | None:
        """As it stands now."""
        with self._lock:
            known = self._alarms.get(alarm_id)
            return known.latest if known else None

    def history(self, alarm_id: UUID) -> list[Change]:
        with self._lock:
            known = self._alarms.get(alarm_id)
            return [known.changes[number] for number in sorted(known.changes)] if known else []

    def stop_for(self, alarm: Alarm) -> LineCommand | None:
        """What its line was asked for last behind it: perhaps by other parts than those that had raised it before."""
        commands = reversed(self.line(alarm.line_id).commands)
        behind = (one for one in commands if (one.episode_id, one.reason_code) == (alarm.episode_id, alarm.kind))
        return next(behind, None)

    def causes(self) -> dict[UUID, str]:
        """Alarm → why it was raised last. Its own reason is that of its last change, which may be an answer to it."""
        with self._lock:
            return {alarm_id: known.cause for alarm_id, known in self._alarms.items()}

    def audit(self) -> list[AuditEntry]:
        """Newest first."""
        with self._lock:
            return sorted(self._audit, key=lambda entry: entry.at, reverse=True)

    def dead(self) -> list[DeadFrame]:
        """Of the last day, newest first."""
        since = now() - DEAD_FOR
        with self._lock:
            found = [frame for frame in self._dead if frame.died_at > since]
        return sorted(found, key=lambda frame: frame.died_at, reverse=True)

    def outcome(self, operation_id: UUID) -> ActOutcome | None:
        with self._lock:
            return self._outcomes.get(operation_id)

    # Folds. Those without an underscore also take what is stored with a line's state.

    def tell_alarm(self, alarm: Alarm) -> None:
        with self._lock:
            known = self._alarms.setdefault(alarm.alarm_id, AlarmMemory(alarm))
            if alarm.revision in known.changes:
                return
            known.add(alarm)
            self._alarms.move_to_end(alarm.alarm_id)
            self.alarm_changes += 1
            if alarm.operation_id is not None:
                refused = alarm.act is Act.NOTE
                words = alarm.reason if refused else f"{alarm.kind.value.replace('_', ' ')}: {STATE_WORDS[alarm.state]}"
                self._settle(alarm.operation_id, ActOutcome(not refused, words, alarm.changed_at))
            if len(self._alarms) > MAX_ALARMS:
                _forget_oldest(self._alarms)

    def tell_command(self, command: LineCommand) -> None:
        if command.simulated:
            return
        with self._lock:
            line = self._line(command.line_id)
            if all(known.command_id != command.command_id for known in line.commands):
                line.commands.append(command)
            if line.command is None or _goes_over(command, line.command):
                line.command = command

    def _shadow(self, command: LineCommand) -> None:
        with self._lock:
            self._line(command.line_id).shadow = command

    def _reply(self, reply: CommandReply) -> None:
        with self._lock:
            self._line(reply.line_id).replies.append(reply)

    def _entry(self, entry: AuditEntry) -> None:
        with self._lock:
            self._audit.append(entry)
            if entry.operation_id is not None and entry.act == "refuse":
                self._settle(
                    entry.operation_id, ActOutcome(False, f"{entry.subject} refused: {entry.reason}", entry.at)
                )

    def _score(self, score: Score) -> None:
        if score.line_id == CHECK:
            return
        with self._lock:
            camera = self._camera(score.camera_id, score.line_id, score.scored_at)
            if camera is None:
                return
            scored = camera.scored.setdefault(score.boot_id, Scored(score.sequence, score.sequence - 1))
            if score.sequence <= scored.last:
                return  # scored twice: a batch was read again
            scored.last = score.sequence
            scored.count += 1
            while len(camera.scored) > MAX_BOOTS:
                camera.scored.pop(next(iter(camera.scored)))
            camera.scores.append(score)

    def _beat(self, beat: Heartbeat) -> None:
        if beat.line_id == CHECK:
            return
        with self._lock:
            camera = self._camera(beat.camera_id, beat.line_id, beat.sent_at)
            if camera is None:
                return
            before = camera.beat
            camera.beats[beat.boot_id] = beat  # first: whoever looks meanwhile finds the beat of the current boot
            camera.beats.move_to_end(beat.boot_id)
            if before is None or succeeds(beat, before):
                camera.current = beat.boot_id
            if beat.boot_id == camera.current:
                camera.heard_at = _heard_at(beat, now())
            kept = {camera.current, camera.last and camera.last.boot_id}
            while len(camera.beats) > MAX_BOOTS:
                camera.beats.pop(next(boot for boot in camera.beats if boot not in kept))

    def _dead_frame(self, record: Incoming) -> None:
        cause = cause_of_death(record.headers)
        headers = dict(record.headers)
        camera_id = (headers.get("camera_id") or record.key or b"?").decode(errors="replace")[:64]
        reason = cause.get("reason", "unknown")
        with self._lock:
            if camera_id in self._cameras:
                dead = self._cameras[camera_id].dead
                dead.setdefault(headers.get("boot_id", b"?").decode(errors="replace")[:64], Counter())[reason] += 1
                while len(dead) > MAX_BOOTS:
                    dead.pop(next(iter(dead)))
            self._dead.append(
                DeadFrame(
                    (record.partition, record.offset),
                    from_ms(record.timestamp_ms),
                    camera_id,
                    reason,
                    cause.get("detail", "")[:500],
                    len(record.value or b""),
                )
            )

    def _camera(self, camera_id: str, line_id: str, heard_at: datetime) -> CameraMemory | None:
        """None where there is no room. One that still reports makes none: of more than there is room for, each would
        push out another for ever, and none stayed for long."""
        if camera_id not in self._cameras and not self._has_room():
            self._left_out[camera_id] = max(heard_at, self._left_out.get(camera_id, heard_at))
            if len(self._left_out) > MAX_CAMERAS:
                self._left_out.pop(next(iter(self._left_out)))
            return None
        self._left_out.pop(camera_id, None)
        camera = self._cameras.setdefault(camera_id, CameraMemory(camera_id, line_id))
        camera.line_id = line_id
        return camera

    def _has_room(self) -> bool:
        if len(self._cameras) < MAX_CAMERAS:
            return True
        if time.monotonic() < self._full_until_s:
            return False
        at = now()
        gone = next((name for name, camera in self._cameras.items() if camera.has_gone(at)), None)
        if gone is None:
            self._full_until_s = time.monotonic() + ROOM_EVERY_S
            return False
        del self._cameras[gone]
        return True

    def _line(self, line_id: str) -> LineMemory:
        if line_id not in self._lines and len(self._lines) >= MAX_LINES:
            free = (known for known, line in self._lines.items() if line.level is None)
            self._lines.pop(next(free, next(iter(self._lines))))  # one that stands keeps its order
        return self._lines.setdefault(line_id, LineMemory(line_id))

    def _settle(self, operation_id: UUID, outcome: ActOutcome) -> None:
        """One act may move several alarms. Where some moved it was done, and what was refused is told beside it."""
        known = self._outcomes.get(operation_id)
        if known is not None and known.done and outcome.words not in known.words:
            self._outcomes[operation_id] = replace(known, words=f"{known.words}; {outcome.words}"[:500])
        elif known is None or not known.done:
            self._outcomes[operation_id] = outcome
        while len(self._outcomes) > OUTCOMES:
            self._outcomes.popitem(last=False)


def by_number(name: str) -> list[str | int]:
    """Sorts as people count: line-2 before line-10."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]


def _goes_over(command: LineCommand, known: LineCommand) -> bool:
    """Whether `command`, which was read after it, is the later word. A stop comes before it is taken back, whatever the
    clocks say: where one was set back in between, a line would show as stopped that runs. Nor would the next stop show:
    it comes later in the topic, and from no earlier worker."""
    free = command.action is Action.UNHOLD_PERMITTED
    if command.episode_id == known.episode_id and free is not (known.action is Action.UNHOLD_PERMITTED):
        return free
    return command.epoch >= known.epoch or command.issued_at >= known.issued_at


def _heard_at(beat: Heartbeat, arrived_at: datetime) -> datetime:
    """What has lain in Kafka proves no life; a clock that is a little behind is no sign of death."""
    return beat.sent_at if arrived_at - beat.sent_at > _BEHIND else arrived_at


def _forget_oldest(alarms: OrderedDict[UUID, AlarmMemory]) -> None:
    """Never one that stands."""
    oldest = next((key for key, known in alarms.items() if known.over), None)
    if oldest is not None:
        del alarms[oldest]
