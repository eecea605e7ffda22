"""Ids that follow from what they name, so that whoever derives one twice has the same."""

import uuid

from pipeline.events.alarm import AlarmKind
from pipeline.events.command import Action

_NAMESPACE = uuid.UUID("5b0c3f0e-3d0c-5f4e-9d0a-a9d0a11d0a00")


def command_id(
    line_id: str, episode_id: str, action: Action, candidate: str | None = None, given_up: int = 0
) -> uuid.UUID:
    """The same act in the same episode is the same command, however often it is derived. One that follows `given_up`
    others, which expired before the line confirmed them, is another."""
    told_apart = (f"/{candidate}" if candidate else "") + (f"#{given_up}" if given_up else "")
    return uuid.uuid5(_NAMESPACE, f"{line_id}/{episode_id}/{action}{told_apart}")


def alarm_id(line_id: str, episode_id: str, kind: AlarmKind, number: int) -> uuid.UUID:
    """`number` counts the alarms of the line, so an alarm that comes again after its end is another one."""
    return uuid.uuid5(_NAMESPACE, f"{line_id}/{episode_id}/{kind}/{number}")
