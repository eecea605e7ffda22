"""Which cameras of a line are not watched any more, and why. Pure.

Silence is judged by scores, since a score proves the whole way from camera to here, if it comes in time to stop the
line. Heartbeats only say where it breaks, and when silence is all right: a worker that ended in good order, a triggered
camera without parts, a line that stands.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum, auto
from itertools import pairwise

from pipeline.boots import succeeds
from pipeline.events import Alarm, AlarmKind, BootEnd, Heartbeat
from workers.alerting.core import effects, register, triggers
from workers.alerting.core.register import Changed
from workers.alerting.core.state import CLOCKS_DIFFER, CROWDED_OUT_FOR, FORGOTTEN_AFTER, MAX_CAMERAS, Camera, LineState
from workers.alerting.policy import LinePolicy

PULSE_FRESH = timedelta(seconds=5)
"""Heartbeats come every second."""
_NO_ROOM = (
    f"its line has {MAX_CAMERAS} cameras already, and this one is not watched: give it to another line. One that was "
    f"taken away makes room {FORGOTTEN_AFTER.days * 24} hours after its last frame"
)
_TWO_WORKERS = (
    "two workers send under this name, and what one sees bad hides among what the other sees good: give one of them "
    "another name, or end it"
)
RECENT_BEATS = 8
"""So many heartbeats back it is looked for a second worker."""
_BOOTS_TOLD_OF = 64
"""Per camera, of which it is remembered that heartbeats told of them."""


@dataclass(frozen=True)
class Pulse:
    """A camera's newest heartbeat."""

    beat: Heartbeat
    since: datetime
    """First heartbeat of this boot: a camera that has just been started can't have been scored before."""
    boots: tuple[str, ...] = ()
    """Boots that heartbeats have told of, the latest last. Scores of another are of one that heartbeats still owe."""
    ended: tuple[str, ...] = ()
    """Those of them that ended in good order."""
    recent: tuple[str, ...] = ()
    """Whose the last heartbeats were that said that they run, without those that have ended since."""
    read_at: datetime | None = None
    """When the newest was read, by this worker's clock; None where that lay there before this worker began. Tells a
    camera's clock that is behind from one that is dead."""

    @property
    def heard_at(self) -> datetime:
        """By its own clock, or by when it was read where that clock is behind."""
        return max(self.beat.sent_at, self.read_at or self.beat.sent_at)

    @property
    def is_of_two(self) -> bool:
        """Whether boots took turns: a worker that begins anew, however often, comes back under none of the old ones.
        Once is no proof, since a last heartbeat may have been on its way."""
        pairs = enumerate(pairwise(self.recent))
        return sum(new != old and new in self.recent[:at] for at, (old, new) in pairs) > 1


Pulses = Mapping[str, Pulse]
"""By camera."""


def hear(pulse: Pulse | None, beat: Heartbeat, read_at: datetime | None = None) -> Pulse:
    """A camera's pulse once `beat` came. To be fed in the order of the topic."""
    clean = (beat.boot_id,) if beat.end is BootEnd.CLEAN else ()
    runs = (beat.boot_id,) if beat.end is BootEnd.RUNNING else ()
    if pulse is None:
        return Pulse(beat, beat.sent_at, (beat.boot_id,), clean, runs, read_at)
    recent = (*pulse.recent, *runs)[-RECENT_BEATS:]
    if not runs:  # told of its end: whoever begins now is not its second
        recent = tuple(boot for boot in recent if boot != beat.boot_id)
    boots = (*(boot for boot in pulse.boots if boot != beat.boot_id), beat.boot_id)[-_BOOTS_TOLD_OF:]
    ended = (*(boot for boot in pulse.ended if boot != beat.boot_id), *clean)[-_BOOTS_TOLD_OF:]
    if not succeeds(beat, pulse.beat):
        return replace(pulse, boots=boots, ended=ended, recent=recent)
    since = pulse.since if beat.boot_id == pulse.beat.boot_id else beat.sent_at
    return Pulse(beat, since, boots, ended, recent, read_at)


@dataclass(frozen=True)
class Watch:
    """How a line's cameras stand."""

    watched: int
    """Cameras that should see frames now."""
    silent: Mapping[str, str]
    """Camera → why. Missed for longer than the policy bears."""
    unproved: frozenset[str]
    """Not seen, and not missed for so long yet: this worker, or the camera, has only just begun."""
    well: Mapping[str, str]
    """Camera → why nobody has to miss it."""
    gone: Mapping[str, str]
    """Those of them that nobody watches any more, and that no score has come of for as long as a silence is borne: what
    other alarms say of them is over. A worker that only begins anew, or a backlog of its frames, ends none."""

    @property
    def alive(self) -> bool:
        """Whether frames of this line are scored and read: what the PLC's watchdog is told. Takes a proof for each
        camera; that it can't be missed yet is none."""
        return self.watched > 0 and not self.silent and not self.unproved


class _Sight(Enum):
    GONE = auto()
    """Nobody watches it any more, nor has to."""
    UNHEARD = auto()
    """As GONE, but by its age alone, and too soon to say so: its heartbeats may be about to come, from a clock that is
    days off. It moves no alarm."""
    WELL = auto()
    SILENT = auto()
    UNPROVED = auto()
    STAYS = auto()
    """As it was told before, while its line may run: without parts it can't show that its frames come in time again."""


def for_each_line(pulses: Pulses) -> Callable[[LineState], Pulses]:
    """What `look` takes of them for a line. To go through all for each line takes longer than a tick where there are
    hundreds, and stops wait for it."""
    named: dict[str, dict[str, Pulse]] = defaultdict(dict)
    for name, pulse in pulses.items():
        named[pulse.beat.line_id][name] = pulse

    def of_line(state: LineState) -> Pulses:
        known = {*state.cameras, *state.crowded_out, *_missed(state)}  # some of them may be another line's by now
        return {name: pulses[name] for name in known if name in pulses} | named.get(state.line_id, {})

    return of_line


def look(state: LineState, pulses: Pulses, policy: LinePolicy, now: datetime, since: datetime) -> Watch:
    """`since`: when this worker began to watch. It delays an alarm and proves nothing: that a camera is seen is told by
    its last score, which the stored state knows too."""
    cameras, missed, crowded_out = state.cameras, _missed(state), _crowded_out(state, pulses, now)
    told = (name for name, pulse in pulses.items() if pulse.beat.line_id == state.line_id)
    found: dict[_Sight, dict[str, str]] = {sight: {} for sight in _Sight}
    for name in sorted({*cameras, *told, *missed, *crowded_out}):
        camera, alarm, has_room, pulse = cameras.get(name), missed.get(name), name not in crowded_out, pulses.get(name)
        if why := _gone(name, state, pulse, has_room, now):
            sight = _Sight.GONE
        elif not has_room:
            sight, why = _Sight.SILENT, _NO_ROOM
        elif now - max(_heard(camera, pulse, alarm)) > FORGOTTEN_AFTER:
            sight = _Sight.GONE if now - since > PULSE_FRESH else _Sight.UNHEARD
            why = "nothing was heard of it for a day: it counts as taken away"
        else:
            sight, why = _stand(state, camera, pulse, alarm is not None, policy, now, since)
        found[sight][name] = why
    limit = timedelta(seconds=policy.silent_after_s)
    return Watch(
        sum(len(names) for sight, names in found.items() if sight not in (_Sight.GONE, _Sight.UNHEARD)),
        found[_Sight.SILENT],
        frozenset(found[_Sight.UNPROVED]),
        found[_Sight.GONE] | found[_Sight.WELL],
        {
            name: why
            for name, why in found[_Sight.GONE].items()
            if name not in cameras or not _is_near(cameras[name].heard_at, now, limit)
        },
    )


def _gone(name: str, state: LineState, pulse: Pulse | None, has_room: bool, now: datetime) -> str:
    """Why this camera is not watched any more, but for its age; empty where it is."""
    camera = state.cameras.get(name)
    if pulse and _ended_well(pulse, camera):
        return "it ended in good order"
    if pulse and _left_well(pulse, camera, state.line_id):
        return f"it ended in good order, and is line {pulse.beat.line_id}'s by now"
    if not has_room:
        return ""
    if camera is None and (name in state.crowded_out or not state.has_room_for(name, now)):
        return "it is heard of no more"
    return ""


def _stand(
    state: LineState, camera: Camera | None, pulse: Pulse | None, is_missed: bool,
    policy: LinePolicy, now: datetime, since: datetime,
) -> tuple[_Sight, str]:  # fmt: skip
    """Of a camera that is watched."""
    limit = timedelta(seconds=policy.silent_after_s)
    is_late = camera is not None and camera.late_since is not None
    if camera is not None and _is_near(camera.proved_at, now, limit) and not (is_late and is_missed):
        if pulse and pulse.is_of_two:
            return _Sight.SILENT, _TWO_WORKERS
        return _Sight.WELL, "its frames are scored in time again"
    why = _why(state, camera, pulse, policy, now)
    if not why and is_late and is_missed:
        return _Sight.STAYS, ""
    if not why:
        return _Sight.WELL, "its worker runs, and its silence is all right"
    # A start that lies ahead is a wrong clock. It must not put the alarm off.
    began = max(since, pulse.since) if pulse and pulse.since <= now else since
    return (_Sight.SILENT if is_missed or now - began > limit else _Sight.UNPROVED), why


def rests(state: LineState, watch: Watch, pulses: Pulses, now: datetime) -> bool:
    """Whether time alone can move nothing of this line: no alarm stands, nothing is asked for, no PLC knows it, and of
    no camera was anything heard for a day. It was renamed or taken away, or is a name that somebody made up."""
    told = (pulse.heard_at for pulse in pulses.values() if pulse.beat.line_id == state.line_id)
    heard = (camera.heard_at for camera in state.cameras.values())
    if watch.watched or any(now - at <= FORGOTTEN_AFTER for at in (*told, *heard)):
        return False
    return not state.alarms and state.episode is None and state.stands_at is None and state.named is None


def tick(state: LineState, watch: Watch, policy: LinePolicy, now: datetime) -> Changed:
    """Raises and clears the alarms of silent cameras, and ends what these would leave for ever. What is not known yet
    moves none."""
    events: tuple[effects.Effect, ...] = ()
    for name, why in watch.silent.items():
        entry = state.standing(AlarmKind.CAMERA_SILENT, name)
        if entry and entry.life.active:  # told; there may be thousands, at each tick
            continue
        seen = state.cameras[name].captured_at if name in state.cameras else None
        alarm = effects.condition(state, AlarmKind.CAMERA_SILENT, name, why, now, seen)
        state, more = register.see(state, entry, alarm, (name,))
        events += more
    for entry in state.alarms:
        if entry.alarm.kind is AlarmKind.CAMERA_SILENT and entry.alarm.camera_id in watch.well:
            state, more = register.clear(state, entry, watch.well[entry.alarm.camera_id], now)
            events += more
    state, more = _let_go(state, watch, now)
    state, shown = _agree_no_more(state, watch, policy, now)
    return state, (*events, *more, *shown)


def _let_go(state: LineState, watch: Watch, now: datetime) -> Changed:
    """A camera that is gone brings no frame that would end its drift, nor its share of a line's blindness: both would
    stand for ever, and no reset takes them away."""
    blind = {name: camera for name in watch.gone if (camera := state.cameras.get(name)) and camera.frames_full_since}
    if blind:
        sees = {"frames": (), "frames_full_since": None}
        cameras = {name: camera.model_copy(update=sees) for name, camera in blind.items()}
        state = state.model_copy(update={"cameras": {**state.cameras, **cameras}})
    events: tuple[effects.Effect, ...] = ()
    for entry in state.alarms:
        kind, name = entry.alarm.kind, entry.alarm.camera_id
        if kind is AlarmKind.NOT_INSPECTED and blind and not triggers.still_full(state, kind):
            state, more = register.clear(state, entry, watch.gone[next(iter(blind))], now)
        elif kind is AlarmKind.DRIFT and name in watch.gone:
            state, more = register.clear(state, entry, watch.gone[name], now)
        else:
            continue
        events += more
    return state, events


def _agree_no_more(state: LineState, watch: Watch, policy: LinePolicy, now: datetime) -> Changed:
    """Cameras that are not heard bring no frame that would end what they agreed on, and it hides that they are silent.
    Those that lately were may still agree, and would raise it again."""
    entry = state.standing(AlarmKind.COMMON_CAUSE)
    if entry is None or not entry.life.active:
        return state, ()
    lost = watch.silent.keys() | watch.gone.keys()
    seen = {name: abs(now - camera.captured_at) for name, camera in state.cameras.items()}
    lost = {name for name in lost if name not in seen or seen[name] > 2 * triggers.AGREE_WITHIN}
    if sum(name not in lost for name in entry.cameras) >= policy.common_cause.cameras:
        return state, ()
    return register.clear(state, entry, "too few of the cameras that agreed are heard any more", now)


def _is_near(at: datetime, now: datetime, limit: timedelta) -> bool:
    return -CLOCKS_DIFFER <= now - at <= limit


def _crowded_out(state: LineState, pulses: Pulses, now: datetime) -> set[str]:
    """Those that may still be there, by their scores or, as the state names only some, by their heartbeats."""
    beats = (pulse.beat for name, pulse in pulses.items() if not state.has_room_for(name, now))
    told = {beat.camera_id: beat.sent_at for beat in beats if beat.line_id == state.line_id}
    return {name for name, at in (*told.items(), *state.crowded_out.items()) if now - at <= CROWDED_OUT_FOR}


def _ended_well(pulse: Pulse, camera: Camera | None) -> bool:
    if pulse.beat.end is not BootEnd.CLEAN:
        return False
    return camera is None or not camera.boots or camera.boots[-1].boot_id in (pulse.beat.boot_id, *pulse.boots)


def _left_well(pulse: Pulse, camera: Camera | None, line_id: str) -> bool:
    """Whether its worker ended here and began at another line. Where it only died here, two may use one name."""
    if pulse.beat.line_id == line_id:
        return False
    return camera is None or not camera.boots or camera.boots[-1].boot_id in pulse.ended


def _missed(state: LineState) -> dict[str, Alarm]:
    """Camera → the alarm that says so. A successor knows it before it has heard of the camera itself."""
    silent = (entry for entry in state.alarms if entry.alarm.kind is AlarmKind.CAMERA_SILENT)
    return {entry.alarm.camera_id: entry.alarm for entry in silent if entry.life.active}


def _heard(camera: Camera | None, pulse: Pulse | None, missed: Alarm | None) -> Iterator[datetime]:
    if camera:
        yield camera.heard_at
    if pulse:
        yield pulse.heard_at
    if missed:
        yield missed.raised_at


def _why(state: LineState, camera: Camera | None, pulse: Pulse | None, policy: LinePolicy, now: datetime) -> str:
    """Empty where the silence is all right."""
    limit, lately = f"no frame scored for {policy.silent_after_s:g} s", timedelta(seconds=policy.silent_after_s)
    if camera and camera.captured_at - camera.heard_at > CLOCKS_DIFFER and _is_near(camera.captured_at, now, lately):
        before_s = (camera.captured_at - camera.heard_at).total_seconds()
        return f"by the replicas' clock, frames are scored {before_s:.0f} s before they were taken: look at NTP there"
    if camera and _is_near(camera.heard_at, now, lately):
        return _too_late(camera, pulse, policy, now)
    if pulse is None:
        return f"{limit}, and no heartbeat of its worker"
    beat = pulse.beat
    if beat.line_id != state.line_id:
        return (
            f"{limit}: its heartbeats name {beat.line_id} now, and what ran here did not end in good order. If it was "
            "moved, start it here once more, and end it after a scored frame; if not, two cameras have one name"
        )
    if now - beat.sent_at > PULSE_FRESH:
        since = f", and no heartbeat of its worker since {beat.sent_at:%H:%M:%S} UTC"
        return limit + (_clock_behind(pulse, now) or since)
    if beat.sent_at - now > PULSE_FRESH:
        # Whether it still beats can't be told: as it would look fresh until its hour has come.
        return f"{limit}, and the clock of its worker is ahead: its last heartbeat says {beat.sent_at:%H:%M:%S} UTC"
    if not beat.source_connected:
        return f"{limit}: its worker can't reach the source"
    counted = camera.counted_to(beat.boot_id) if camera else None
    all_scored = beat.captured == 0 or (counted is not None and counted + 1 >= beat.captured)
    stands = state.level is not None and state.level.stops
    if all_scored and (policy.triggered or stands):
        return ""
    if all_scored:
        return f"{limit}: its worker runs, and captures nothing"
    return f"{limit}, although frames are captured: {_whose_fault(beat, counted)}"


def _whose_fault(beat: Heartbeat, counted: int | None) -> str:
    """counted: the last of its frames that was scored."""
    unscored = beat.captured - (0 if counted is None else counted + 1)
    given_up, held = sum(beat.dropped.values()), beat.buffered + beat.spooled
    if given_up + held < unscored:  # the others are in Kafka
        return "look at the replicas and their lag"
    # Perhaps: heartbeats count from the start of the worker, so frames given up may be of long ago.
    reasons = ", ".join(f"{reason} {frames}" for reason, frames in beat.dropped.items())
    told = f"{given_up} ({reasons})" if reasons else "none"
    return (
        f"its worker has given up {told} since it began, and holds {held}: look there while these grow, "
        "else at the replicas and their lag"
    )


def _too_late(camera: Camera, pulse: Pulse | None, policy: LinePolicy, now: datetime) -> str:
    late = f"no frame known within {policy.max_age_s:g} s of its capture for {policy.silent_after_s:g} s"
    age, in_time = camera.heard_at - camera.captured_at, timedelta(seconds=policy.max_age_s)
    if pulse and age - (now - pulse.beat.sent_at) <= in_time and (clock := _clock_behind(pulse, now)):
        return late + clock
    age_s = age.total_seconds()
    return f"{late}; the last was scored {age_s:.0f} s after: look at the replicas, their lag, and the camera's spool"


def _clock_behind(pulse: Pulse, now: datetime) -> str:
    """Of a worker whose heartbeats still come, and say that they are old. Empty for any other."""
    behind = now - pulse.beat.sent_at
    if behind <= PULSE_FRESH or pulse.read_at is None or abs(now - pulse.read_at) > PULSE_FRESH:
        return ""
    old_s = behind.total_seconds()
    return f", and its heartbeats are {old_s:.0f} s old as they come: compare its box's clock with this worker's (NTP)"
