"""Moves the states of lines to other partitions, after their number was changed. With all workers stopped."""

from collections.abc import Collection, Mapping
from contextlib import closing

from pipeline.events import now
from pipeline.kafka.publisher import Publisher
from pipeline.kafka.reading import Place, ends_of
from pipeline.settings import Settings
from workers.alerting.core import weight
from workers.alerting.core.outbox import Published, settle
from workers.alerting.core.state import Applied, LineState, StateError
from workers.alerting.recovery import (
    StoredLine,
    find_elsewhere,
    find_published,
    home_of,
    read_stored,
    state_record,
)
from workers.alerting.upkeep.standstill import refuse_while_workers_run


def move(settings: Settings, *, really: bool, past_unreadable: bool = False) -> dict[str, tuple[int, int]]:
    """line → (from, to) of each that lies elsewhere than it belongs. past_unreadable: also where a record can't be
    read; a line of which only that was stored begins anew.

    Raises KafkaUnavailableError, StateError, PublishError.
    """
    elsewhere = find_elsewhere(settings).lines
    stored = read_stored(settings)
    for line_id in elsewhere.keys() & stored.broken:
        raise stored.broken[line_id]
    for partition, unread in () if past_unreadable else stored.unread.items():
        raise StateError(
            f"{unread.place} can't be read ({unread.unreadable}), and may be all that partition {partition} has of a "
            "line: moved past it, that line would begin anew, without its latched alarms and its stop. Run `andon "
            "alerting restore-line LINE --yes` for each line that is not told of here, and then this with "
            "--past-unreadable"
        )
    lines = {line_id: stored.lines[line_id] for line_id in elsewhere}
    if really and lines:
        refuse_while_workers_run(settings)
        moved = at_home(settings, list(lines.values()))
        with closing(Publisher(settings, "andon-move-lines")) as publisher:
            publisher.publish(state_record(settings, state, weight.stored(state)[0]) for state in moved)
    return {line_id: (line.partition, home_of(settings, line_id)) for line_id, line in lines.items()}


def at_home(settings: Settings, lines: Collection[StoredLine]) -> list[LineState]:
    """As they are to be stored in the partitions that they belong in. Raises KafkaUnavailableError."""
    # Only where they were published can be seen what of them got out.
    published = find_published(settings, lines, {line.partition for line in lines}).published
    ends = ends_of(settings, [settings.topics.alarms.name, settings.topics.line_commands.name])
    return [_moved(settings, line, published, ends) for line in lines]


def _moved(settings: Settings, line: StoredLine, published: Published, ends: Mapping[Place, int]) -> LineState:
    """The offsets of the old partition mean nothing in the new one. No frame counts twice all the same: each camera's
    place is kept. What was decided and never published is left to whoever takes the line over. The higher epoch makes
    this record the one that counts; the old one stays and is never read again."""
    state, topics = settle(line.state, published, now()), settings.topics
    home = home_of(settings, state.line_id)
    begins = {"alarms_from": ends[topics.alarms.name, home], "commands_from": ends[topics.line_commands.name, home]}
    outbox = state.outbox.model_copy(update=begins)
    return state.model_copy(update={"epoch": state.epoch + 1, "applied": Applied(), "outbox": outbox})
