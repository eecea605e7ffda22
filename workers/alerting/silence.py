"""Which cameras of a line are not watched any more, and why. Pure.

Silence is judged by scores, since a score proves the whole way from camera to here. Heartbeats only say where it
breaks, and when silence is all right: a worker that ended in good order, a triggered camera without parts, a line
that stands.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from pipeline.events import Action, AlarmKind, BootEnd, Heartbeat
from workers.alerting import effects, register
from workers.alerting.policy import LinePolicy
from workers.alerting.register import Changed
from workers.alerting.state import CROWDED_OUT_FOR, FORGOTTEN_AFTER, MAX_CAMERAS, Camera, LineState

PULSE_FRESH = timedelta(seconds=5)
"""Heartbeats come every second."""
_NO_ROOM = (
    f"its line has {MAX_CAMERAS} cameras already, and this one is not watched: give it to another line. One that was "
    f"taken away makes room {FORGOTTEN_AFTER.days * 24} hours after its last frame"
)


@dataclass(frozen=True)
class Pulse:
    """A camera's newest heartbeat."""

    beat: Heartbeat
    since: datetime
    """First heartbeat of this boot: a camera that has just been started can't have been scored before."""


Pulses = Mapping[str, Pulse]
"""By camera."""


@dataclass(frozen=True)
class Watch:
    """How a line's cameras stand."""

    watched: int
    """Cameras that should see frames now."""
    silent: Mapping[str, str]
    """Camera → why."""

    @property
    def alive(self) -> bool:
        """Whether frames of this line are scored and read: what the PLC's watchdog is told."""
        return self.watched > 0 and not self.silent


def look(state: LineState, pulses: Pulses, policy: LinePolicy, now: datetime, since: datetime) -> Watch:
    """`since`: when this worker began to watch; nothing before it can be held against a camera."""
    watched, silent = 0, {}
    crowded_out = _crowded_out(state, pulses, now)
    own = (name for name, pulse in pulses.items() if pulse.beat.line_id == state.line_id)
    names = {*state.cameras, *own, *crowded_out}
    for name in sorted(names):
        camera, pulse = state.cameras.get(name), pulses.get(name)
        beat = pulse.beat if pulse else None
        if beat is not None and beat.end is BootEnd.CLEAN and (camera is None or _is_newest(beat, camera)):
            continue
        if name in crowded_out:
            watched += 1
            silent[name] = _NO_ROOM
            continue
        began = [since, pulse.since] if pulse else [since]
        seen = max(*began, camera.scored_at or camera.captured_at) if camera else max(began)
        heard = [one for one in (camera.captured_at if camera else None, beat.sent_at if beat else None) if one]
        if now - max(heard) > FORGOTTEN_AFTER:
            continue
        watched += 1
        if now - seen > timedelta(seconds=policy.silent_after_s):
            why = _why(state, camera, beat, policy, now)
            if why:
                silent[name] = why
    return Watch(watched, silent)


def tick(state: LineState, watch: Watch, now: datetime) -> Changed:
    """Raises and clears the alarms of silent cameras."""
    events: tuple[effects.Effect, ...] = ()
    for name, why in watch.silent.items():
        entry = state.standing(AlarmKind.CAMERA_SILENT, name)
        if entry is None:
            seen = state.cameras[name].captured_at if name in state.cameras else None
            alarm = effects.condition(state, AlarmKind.CAMERA_SILENT, name, why, now, seen)
            state, more = register.add(state, alarm, (name,))
        elif not entry.life.active:
            state, more = register.again(state, entry, why, now)
        else:
            continue
        events += more
    for entry in state.alarms:
        if entry.alarm.kind is AlarmKind.CAMERA_SILENT and entry.alarm.camera_id not in watch.silent:
            state, more = register.clear(state, entry, "its frames are scored again, or it ended in good order", now)
            events += more
    return state, events


def _crowded_out(state: LineState, pulses: Pulses, now: datetime) -> set[str]:
    """Those that may still be there, and not at another line by now."""
    lately = {name for name, at in state.crowded_out.items() if now - at <= CROWDED_OUT_FOR}
    return {name for name in lately if name not in pulses or pulses[name].beat.line_id == state.line_id}


def _why(state: LineState, camera: Camera | None, beat: Heartbeat | None, policy: LinePolicy, now: datetime) -> str:
    """Empty where the silence is all right."""
    limit = f"no frame scored for {policy.silent_after_s:g} s"
    if beat is None:
        return f"{limit}, and no heartbeat of its worker"
    if now - beat.sent_at > PULSE_FRESH:
        return f"{limit}, and no heartbeat of its worker since {beat.sent_at:%H:%M:%S} UTC"
    if not beat.source_connected:
        return f"{limit}: its worker can't reach the source"
    counted = camera.counted_to(beat.boot_id) if camera else None
    all_scored = beat.captured == 0 or (counted is not None and counted + 1 >= beat.captured)
    if all_scored and (policy.triggered or state.level in (Action.HOLD, Action.STOP)):
        return ""
    if all_scored:
        return f"{limit}: its worker runs, and captures nothing"
    return f"{limit}, although frames are captured: look at the replicas and their lag"


def _is_newest(beat: Heartbeat, camera: Camera) -> bool:
    return not camera.boots or camera.boots[-1].boot_id <= beat.boot_id
