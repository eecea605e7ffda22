"""One line as its banner shows it: what stands, why, and how well it is watched. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from pipeline.events import Action, Alarm, AlarmKind, AlarmState, CommandReply, Evidence, LineCommand, Outcome, to_ms
from workers.alerting.policy import LinePolicy, Response
from workers.console.gauges import Gauges
from workers.console.memory import by_number
from workers.console.remembered import LineMemory
from workers.console.tiles import Tile, TileState

_HIDDEN = frozenset({AlarmState.SHELVED, AlarmState.SUPPRESSED})
_OF_ONE_CAMERA = frozenset({AlarmKind.CAMERA_SILENT, AlarmKind.DRIFT})
SILENT_AFTER_S = 30.0
"""Where no policy says so."""
PROOF_WITHIN = timedelta(seconds=5)
"""So long a PLC may take to confirm before the banner says that it has not."""
_RANK = (
    AlarmKind.NOT_STOPPED,
    AlarmKind.DEFECTS,
    AlarmKind.PLC,
    AlarmKind.STOPS_SPENT,
    AlarmKind.COMMON_CAUSE,
    AlarmKind.LATE,
    AlarmKind.NOT_INSPECTED,
    AlarmKind.CAMERA_SILENT,
    AlarmKind.FLOOD,
    AlarmKind.DRIFT,
)


CONFIRMED = frozenset({Outcome.ACCEPTED, Outcome.DUPLICATE})
"""What a PLC answers once the line stands as asked."""


class Mood(StrEnum):
    """How loud the banner is."""

    STOPPED = "stopped"
    ALARM = "alarm"
    SEEN = "seen"
    """What stands was acknowledged, or is over and only waits for that."""
    CALM = "calm"


LOUDEST_FIRST = tuple(Mood)


class Lamp(StrEnum):
    GOOD = "good"
    BAD = "bad"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Light:
    name: str
    lamp: Lamp
    words: str

    @property
    def shape(self) -> str:
        return {Lamp.GOOD: "●", Lamp.BAD: "■", Lamp.UNKNOWN: "○"}[self.lamp]


@dataclass(frozen=True)
class Group:
    """Alarms of one kind in one state: told once, however many cameras it is."""

    alarms: tuple[Alarm, ...]
    """Newest change first."""

    @property
    def newest(self) -> Alarm:
        return self.alarms[0]

    @property
    def cameras(self) -> str:
        return _some(sorted({alarm.camera_id for alarm in self.alarms}, key=by_number), 5)


@dataclass(frozen=True)
class LineView:
    line_id: str
    mood: Mood
    headline: str
    detail: str
    """What the line itself has confirmed."""
    value: str
    """As it was read back."""
    command: LineCommand | None
    """In force now."""
    alarms: tuple[Alarm, ...]
    """That stand, the gravest first."""
    groups: tuple[Group, ...]
    lights: tuple[Light, ...]
    modes: tuple[str, ...]
    """Degraded or unusual ways of working. Loud."""
    acknowledge: bool
    reset: bool
    causes: Mapping[UUID, str] = field(default_factory=dict)
    """Of its own alarms."""

    def cause(self, alarm: Alarm) -> str:
        """Why it was raised; its own reason tells its last change."""
        return self.causes.get(alarm.alarm_id, alarm.reason)

    @property
    def evidence(self) -> Evidence | None:
        """What to show first of why. A stop has its own: its alarm may have been raised by other parts, long before."""
        told = [*((self.command,) if self.command else ()), *self.alarms]
        return next((one.evidence for one in told if one.evidence.frame_ids), None)

    @property
    def announcement(self) -> str:
        """For a screen reader, when it changes."""
        return "" if self.mood is Mood.CALM else f"Line {self.line_id}: {self.headline}. {self.detail}"


def look(
    line: LineMemory, standing: Sequence[Alarm], tiles: Sequence[Tile], policy: LinePolicy | None, gauges: Gauges,
    now: datetime, reading_fault: str | None = None, causes: Mapping[UUID, str] | None = None,
) -> LineView:  # fmt: skip
    alarms = tuple(sorted(standing, key=lambda alarm: (alarm.state in _HIDDEN, _RANK.index(alarm.kind))))
    open_ = [alarm for alarm in alarms if alarm.state not in _HIDDEN]
    shelved = [alarm for alarm in alarms if alarm.state is AlarmState.SHELVED]
    fresh = [alarm for alarm in open_ if alarm.state in (AlarmState.UNACK_ACTIVE, AlarmState.UNACK_LATCHED)]
    latched = [alarm for alarm in alarms if alarm.latching]
    causes = {alarm.alarm_id: (causes or {}).get(alarm.alarm_id, alarm.reason) for alarm in alarms}
    lights = _lights(line, alarms, tiles, policy, gauges, now, reading_fault, causes)
    unwatched = _why_unwatched(alarms, tiles, lights)
    calm = Mood.ALARM if unwatched else Mood.CALM
    return LineView(
        line_id=line.line_id,
        mood=Mood.STOPPED if line.level else Mood.ALARM if fresh else Mood.SEEN if open_ else calm,
        headline=_headline(line, open_, shelved, causes, unwatched),
        detail=_proof(line, policy, alarms, now),
        value=(line.reply.value_read_back or "") if line.reply else "",
        command=line.command if line.level else None,
        alarms=alarms,
        groups=_grouped(alarms),
        lights=lights,
        modes=_modes(line, alarms, policy),
        acknowledge=any(alarm.underneath.unacknowledged for alarm in alarms),
        reset=bool(latched) and all(not alarm.underneath.unacknowledged for alarm in latched),
        causes=causes,
    )


def _why_unwatched(alarms: Sequence[Alarm], tiles: Sequence[Tile], lights: Sequence[Light]) -> str:
    """Of a line that no alarm tells of: where nobody judges, "no alarm" says nothing. Empty where somebody does, where
    its cameras have all ended in good order, and where a person has put that very alarm aside."""
    if tiles and all(tile.state is TileState.ENDED for tile in tiles):
        return ""
    if any(alarm.kind is AlarmKind.CAMERA_SILENT and alarm.underneath.active for alarm in alarms):
        return ""
    bad = {light.name: light.words for light in lights if light.lamp is Lamp.BAD}
    return bad.get("Judging") or bad.get("Heartbeat", "")


def _headline(
    line: LineMemory, open_: Sequence[Alarm], shelved: Sequence[Alarm], causes: Mapping[UUID, str], unwatched: str
) -> str:
    if line.level and line.command:
        proof = line.command.evidence
        asked = {"HOLD": "HOLD", "STOP": "STOP", "REJECT": "REJECT (parts go to the rejects)"}[line.level.value]
        what = "frames not inspected" if line.command.reason_code == AlarmKind.NOT_INSPECTED else "parts bad"
        return f"{asked}: {proof.k} of {proof.n} {what}, camera {line.command.camera_id}"
    active = [alarm for alarm in open_ if alarm.state is not AlarmState.UNACK_RTN]
    if active:
        first = active[0]
        of = f" {first.camera_id}" if first.kind in _OF_ONE_CAMERA else ""  # the causes of others name theirs
        more = f", and {len(active) - 1} more" if len(active) > 1 else ""
        return f"{words(first.kind)}{of}: {causes[first.alarm_id]}{more}"
    if open_:
        return f"back to normal, and not acknowledged: {_kinds(open_)}"
    calm = f"no alarm but what is shelved: {_kinds(shelved)}" if shelved else "no alarm"
    calm += "" if line.command is None else "; Andon asks for nothing"
    return f"NOT WATCHED: {unwatched}; {calm}" if unwatched else calm


def _kinds(alarms: Sequence[Alarm]) -> str:
    return ", ".join(dict.fromkeys(words(alarm.kind) for alarm in alarms))


def _grouped(alarms: Sequence[Alarm]) -> tuple[Group, ...]:
    found: dict[tuple[AlarmKind, AlarmState], list[Alarm]] = {}
    for alarm in alarms:
        found.setdefault((alarm.kind, alarm.state), []).append(alarm)
    return tuple(
        Group(tuple(sorted(group, key=lambda alarm: alarm.changed_at, reverse=True))) for group in found.values()
    )


def _proof(line: LineMemory, policy: LinePolicy | None, alarms: Sequence[Alarm], now: datetime) -> str:
    """Whether the line really stands is the line's to say. What it said before its PLC was lost is no proof of now."""
    command, reply = line.command, line.reply
    if command is None:
        return ""
    if reply is not None:
        lost = any(alarm.kind is AlarmKind.PLC and alarm.underneath.active for alarm in alarms)
        unknown = lost and reply.outcome in CONFIRMED and line.level is not None
        return _reply_words(reply) + ("; NOT KNOWN NOW, since its PLC is at fault. Look at the line" if unknown else "")
    if policy is not None and policy.actuator is None:
        return "" if line.level is None else "No PLC is connected: the command was published, and nobody confirms it"
    if line.level is None:
        return ""
    if now - command.issued_at > PROOF_WITHIN:
        return "NOT CONFIRMED by a PLC: look at the line itself"
    return "waiting for the PLC to confirm"


def _reply_words(reply: CommandReply) -> str:
    taken_back = reply.action is Action.UNHOLD_PERMITTED
    if reply.outcome not in CONFIRMED:
        asked = "taking it back was" if taken_back else reply.action.value
        return f"{asked} {reply.outcome.value.upper()} at the PLC: {reply.detail}. Look at the line"
    if taken_back:
        return "taken back, and read back so from the PLC; only a person starts the line"
    return f"{reply.action.value} read back from the PLC, {_span(reply.observed_at - reply.captured_at)} after capture"


def _span(took: timedelta) -> str:
    seconds = took.total_seconds()
    return f"{seconds * 1000:.0f} ms" if seconds < 10 else f"{seconds:.1f} s"


def _lights(
    line: LineMemory, alarms: Sequence[Alarm], tiles: Sequence[Tile], policy: LinePolicy | None, gauges: Gauges,
    now: datetime, reading_fault: str | None, causes: Mapping[UUID, str],
) -> tuple[Light, ...]:  # fmt: skip
    active = [alarm for alarm in alarms if alarm.underneath.active]
    kinds = {alarm.kind: causes[alarm.alarm_id] for alarm in active}
    if AlarmKind.PLC in kinds:
        link = Light("PLC link", Lamp.BAD, kinds[AlarmKind.PLC])
    elif policy is not None and policy.actuator is None:
        link = Light("PLC link", Lamp.UNKNOWN, "no PLC configured")
    elif line.replies or policy is not None:
        link = Light("PLC link", Lamp.GOOD, "no fault reported")
    else:
        link = Light("PLC link", Lamp.UNKNOWN, "not known here")
    watched = [tile for tile in tiles if tile.state is not TileState.ENDED]
    unwatched = [tile.camera_id for tile in watched if _is_unwatched(tile, line, policy, now)]
    judged = gauges.alerting
    if AlarmKind.CAMERA_SILENT in kinds:
        beat = Light("Heartbeat", Lamp.BAD, f"stands: {kinds[AlarmKind.CAMERA_SILENT]}")
    elif unwatched:
        beat = Light("Heartbeat", Lamp.BAD, f"no frame is scored in time of {_some(unwatched, 3)}")
    elif not watched:
        beat = Light("Heartbeat", Lamp.UNKNOWN, "no camera runs")
    elif judged.stuck:
        beat = Light("Heartbeat", Lamp.BAD, "stands, since nothing is judged")
    elif reading_fault or gauges.fault:
        beat = Light("Heartbeat", Lamp.UNKNOWN, reading_fault or gauges.fault or "")
    else:
        beat = Light("Heartbeat", Lamp.GOOD, f"{len(watched)} camera{'' if len(watched) == 1 else 's'} scored and read")
    if reading_fault or gauges.fault:
        judge = Light("Judging", Lamp.UNKNOWN, reading_fault or gauges.fault or "")
    elif judged.stuck:
        judge = Light("Judging", Lamp.BAD, "scores wait, and alerting does not read them")
    elif gauges.inspection.stuck:
        judge = Light("Judging", Lamp.BAD, "frames wait, and none is scored")
    else:
        judge = Light("Judging", Lamp.GOOD, "frames are scored, and scores are judged")
    return link, beat, judge


def _some(names: Sequence[str], at_most: int) -> str:
    more = f" and {len(names) - at_most} more" if len(names) > at_most else ""
    return ", ".join(names[:at_most]) + more


def _is_unwatched(tile: Tile, line: LineMemory, policy: LinePolicy | None, now: datetime) -> bool:
    """Alerting raises an alarm for a camera without a new frame. Where it is dead itself, nobody does."""
    if tile.state is not TileState.STALE or tile.captured_ms is None:
        return tile.state in (TileState.OFFLINE, TileState.WAITING)
    stands = line.level is not None and line.level.stops  # then no frame may come
    return not stands and to_ms(now) - tile.captured_ms > 1000 * (policy.silent_after_s if policy else SILENT_AFTER_S)


def _modes(line: LineMemory, alarms: Sequence[Alarm], policy: LinePolicy | None) -> tuple[str, ...]:
    found = []
    if any(alarm.kind is AlarmKind.STOPS_SPENT for alarm in alarms):
        found.append("STOPS SPENT: alarms only until the next shift")
    if policy is not None and policy.shadow:
        found.append("SHADOW: decides, and stops nothing")
    elif policy is not None and policy.action is Response.ALARM_ONLY:
        found.append("ALARM ONLY: this line is never stopped")
    elif policy is not None and policy.actuator is None:
        found.append("NO PLC: commands are published only")
    elif policy is None and line.shadow and line.shadow.candidate is None:
        found.append("SHADOW: the last stop was only told, not made")
    return tuple(found)


def words(kind: AlarmKind) -> str:
    return {
        AlarmKind.DEFECTS: "Defects",
        AlarmKind.NOT_INSPECTED: "Not inspected",
        AlarmKind.LATE: "Late defects",
        AlarmKind.COMMON_CAUSE: "Many cameras at once",
        AlarmKind.FLOOD: "Alarm flood",
        AlarmKind.CAMERA_SILENT: "Camera silent",
        AlarmKind.DRIFT: "Drift",
        AlarmKind.STOPS_SPENT: "Stops spent",
        AlarmKind.NOT_STOPPED: "NOT STOPPED",
        AlarmKind.PLC: "PLC",
    }[kind]
