"""Puts a line back whose newest state can't be read: as the last one that can be read has it, or as it was published.
With all workers stopped."""

from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from pipeline.events import Action, Alarm, AuditEntry, CommandReply, ContractError, LineCommand, from_ms
from pipeline.kafka.publisher import Publisher
from pipeline.kafka.reading import ends_of, read_to_end
from pipeline.kafka.records import Incoming
from pipeline.settings import Settings
from workers.alerting.core.state import LineState, NewerStateError, Outbox, StateError
from workers.alerting.people.audit_log import read_log
from workers.alerting.recovery import StoredLine, epoch_of, home_of, state_record
from workers.alerting.upkeep.moving import at_home
from workers.alerting.upkeep.rebuilding import Published, rebuilt
from workers.alerting.upkeep.standstill import refuse_while_workers_run

_Event = TypeVar("_Event", Alarm, CommandReply, LineCommand)


@dataclass(frozen=True)
class Restored:
    state: LineState
    written_at: datetime | None
    """None: nothing that was stored can be read any more, and it was put together from what was published."""


def restore(settings: Settings, line_id: str, *, really: bool) -> Restored | None:
    """What is put back; None where the newest state is well.

    Raises KafkaUnavailableError, StateError, PublishError.
    """
    topic = settings.topics.line_state.name
    home = home_of(settings, line_id)
    stored = list(read_to_end(settings, [topic]))
    records = [record for record in stored if record.key == line_id.encode() and record.value]
    if not records and not any(record.unreadable for record in stored):
        raise StateError(f"nothing is stored of line {line_id!r} in {topic!r}")
    newest_first = sorted(records, key=lambda record: (epoch_of(record), record.offset), reverse=True)
    readable = _newest_readable(newest_first, line_id)
    if readable and readable[0] is newest_first[0]:
        partitions = {readable[0].partition, home}  # two, after their number was changed
        if not any(_hidden(stored, records, partition) for partition in partitions):
            return None
    # Above all that lie there, so that this record is the one that counts; and no number of the audit log, nor of an
    # alarm, which are fewer, twice.
    audit = read_log(settings, line_id, None)
    state = readable[1] if readable else _as_published(settings, line_id, audit)
    if readable and readable[0].partition != home:  # the number was changed: the offsets there mean nothing at home
        (state,) = at_home(settings, [StoredLine(state, readable[0].partition)])
    epoch = max([state.epoch, *map(epoch_of, records)]) + 1
    audited = max([state.audited, *(entry.number for entry in audit)])
    # The lost states may have asked for a stop in the episode that stands: its reset takes that back. Or in another,
    # which nobody has reset: no REJECT is written over it.
    stop_of = state.stop_of or (state.episode and state.episode.episode_id)
    state = _without_release(state).model_copy(
        update={"epoch": epoch, "audited": audited, "raised": audited, "stop_of": stop_of, "stop_moved": True}
    )
    if really:
        refuse_while_workers_run(settings)
        with closing(Publisher(settings, "andon-restore-line")) as publisher:
            publisher.publish([state_record(settings, state)])
    return Restored(state, readable and from_ms(readable[0].timestamp_ms))


def _hidden(stored: Sequence[Incoming], records: Sequence[Incoming], partition: int) -> bool:
    """Whether what can't be read lies behind all that this partition has of the line, and may be more of it."""
    unread = (record.offset for record in stored if record.unreadable and record.partition == partition)
    return max(unread, default=-1) > max((one.offset for one in records if one.partition == partition), default=-1)


def _newest_readable(newest_first: Sequence[Incoming], line_id: str) -> tuple[Incoming, LineState] | None:
    """Raises NewerStateError."""
    for record in newest_first:
        try:
            return record, LineState.from_json(record.value or b"", record.place, line_id)
        except NewerStateError:
            raise
        except StateError:
            continue
    return None


def _as_published(settings: Settings, line_id: str, audit: Sequence[AuditEntry]) -> LineState:
    topics, home = settings.topics, home_of(settings, line_id)
    names = topics.alarms.name, topics.line_commands.name, topics.command_replies.name
    told: dict[str, list[Incoming]] = {name: [] for name in names}
    for record in read_to_end(settings, names):
        told[record.topic].append(record)
    for records in told.values():  # the newest lie at home, also after the number of partitions was changed
        records.sort(key=lambda record: record.partition == home)
    alarms, commands, replies = names
    published = Published(
        _events(Alarm, told[alarms], line_id),
        _events(LineCommand, told[commands], line_id),
        _events(CommandReply, told[replies], line_id),
        audit,
    )
    if not any((published.alarms, published.commands, published.replies, audit)) and not _scored(settings, line_id):
        raise StateError(
            f"nothing is known of line {line_id!r}: no state that can be read, no alarm, command, reply or entry of "
            "the audit log, and no score. Is that its name? A new line is restored once a camera of it had a score"
        )
    state = rebuilt(line_id, published)
    ends = ends_of(settings, [alarms, commands])
    return state.model_copy(
        update={"outbox": Outbox(alarms_from=ends[alarms, home], commands_from=ends[commands, home])}
    )


def _scored(settings: Settings, line_id: str) -> bool:
    scores = read_to_end(settings, [settings.topics.scores.name], partitions=[home_of(settings, line_id)])
    return any(record.key == line_id.encode() for record in scores)


def _events(contract: type[_Event], records: Sequence[Incoming], line_id: str) -> list[_Event]:
    events = []
    for record in records:
        with suppress(ContractError):  # what can't be read is not ours
            events.append(contract.from_json(record.value))
    return [event for event in events if event.line_id == line_id]


def _without_release(state: LineState) -> LineState:
    """A stop that the lost states knew of may stand at the PLC, and an old reset was of an older one: where nothing is
    asked for, what stands there is left as a stop that nobody here ordered, and not taken away."""
    if state.last_command is None or state.last_command.action is not Action.UNHOLD_PERMITTED:
        return state
    return state.model_copy(update={"last_command": None, "proved": False})
