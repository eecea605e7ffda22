"""A line's state out of what was published of it, where nothing that was stored of it can be read any more. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from pipeline.events import Action, Alarm, AlarmState, AuditEntry, CommandReply, LineCommand, Outcome
from workers.alerting.core.state import Episode, LineState, Standing

_COMMANDS = frozenset({Action.HOLD, Action.STOP, Action.REJECT})


@dataclass(frozen=True)
class Published:
    """Of one line, each in the order of its topic."""

    alarms: Sequence[Alarm]
    commands: Sequence[LineCommand]
    replies: Sequence[CommandReply]
    audit: Sequence[AuditEntry]


def rebuilt(line_id: str, told: Published) -> LineState:
    """Its alarms that stand, and what is asked of it for them. What its cameras have shown, its stops of the shift, and
    what was decided and never published are forgotten."""
    standing = _standing(told.alarms)
    latched = [entry.alarm.episode_id for entry in standing if entry.alarm.latching]
    numbers = [entry.number for entry in told.audit]
    state = LineState(
        line_id=line_id,
        epoch=max([0, *(entry.epoch for entry in told.audit), *(command.epoch for command in told.commands)]),
        alarms=standing,
        raised=max(numbers, default=0),  # each alarm took a number of the audit log, so none of theirs comes again
        audited=max(numbers, default=0),
    )
    last = told.commands[-1] if told.commands else None
    # Not by the ids: an alarm that came to latch after it was raised keeps the one that it was raised with.
    if last is None or last.action is Action.UNHOLD_PERMITTED or not latched:
        episode_id = next(iter(latched), None)
        episode = episode_id and Episode(episode_id=episode_id, given_up=len(_asked(told, episode_id)))
        return state.model_copy(update={"episode": episode or None})
    episode = Episode(episode_id=last.episode_id, given_up=len(_asked(told, last.episode_id)))
    answers = [reply for reply in told.replies if reply.command_id == last.command_id]
    if answers and answers[-1].outcome is Outcome.EXPIRED:
        return state.model_copy(update={"episode": episode.model_copy(update={"void": last})})
    proved = next((reply for reply in answers if reply.outcome in (Outcome.ACCEPTED, Outcome.DUPLICATE)), None)
    return state.model_copy(
        update={
            "episode": episode.model_copy(update={"command": last}),
            "last_command": last,
            "proved": proved is not None,
            "stands_at": proved and proved.actuator,
        }
    )


def _standing(alarms: Sequence[Alarm]) -> tuple[Standing, ...]:
    newest: dict[UUID, Alarm] = {}
    for alarm in alarms:
        if alarm.alarm_id not in newest or alarm.revision >= newest[alarm.alarm_id].revision:
            newest[alarm.alarm_id] = alarm
    entries = [
        Standing(alarm=alarm, cameras=(alarm.camera_id,), suppressed=alarm.state is AlarmState.SUPPRESSED)
        for alarm in sorted(newest.values(), key=lambda alarm: alarm.raised_at)
    ]
    return tuple(entry for entry in entries if not entry.life.over)


def _asked(told: Published, episode_id: str) -> set[UUID]:
    """Also what was decided and given up before it was published: no later command may have an id of these."""
    published = {command.command_id for command in told.commands if command.episode_id == episode_id}
    decided = {
        entry.command_id
        for entry in told.audit
        if entry.episode_id == episode_id and entry.act in _COMMANDS and entry.command_id
    }
    return published | decided
