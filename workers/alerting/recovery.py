"""What a worker has to know of its lines before their first record: their states, and what of them got out."""

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from pipeline.events import Alarm, ContractError, LineCommand
from pipeline.kafka.partitioning import partition_of
from pipeline.kafka.reading import Place, read_to_end
from pipeline.kafka.records import Incoming, Outgoing
from pipeline.settings import Settings
from workers.alerting.core.outbox import Published
from workers.alerting.core.state import LineState, StateError

EPOCH_HEADER = "epoch"
"""Of a record in `line-state`: which takeover wrote it."""


@dataclass(frozen=True)
class StoredLine:
    state: LineState
    partition: int
    """The same in every topic whose key is the line."""


@dataclass(frozen=True)
class StoredLines:
    """By line."""

    lines: dict[str, StoredLine]
    broken: dict[str, StateError]
    """Whose state can't be read. None of these may be taken for a line without one: latched alarms would be forgotten,
    and its epochs begin again below the one that its PLC has seen."""
    unread: dict[int, Incoming]
    """Partition → its last record that can't be read. It may be of any line of which nothing lies behind it, one of
    which nothing was read at all among them."""

    def faults(self) -> list[StateError]:
        """All that keeps somebody from knowing what stands on every line."""
        return [*self.broken.values(), *(_hides_lines(record) for record in self.unread.values())]


def read_stored(settings: Settings, partitions: Collection[int] | None = None, *, timeout_s: float = 30) -> StoredLines:
    """Of all partitions by default. Raises KafkaUnavailableError."""
    newest, unread = _newest(settings, partitions, timeout_s)
    stored = StoredLines({}, {}, unread)
    for line_id, record in newest.items():
        # A line that was moved leaves its old record behind in the partition that it came from.
        if partitions is not None and record.partition != home_of(settings, line_id):
            continue
        if (over := unread.get(record.partition)) and over.offset > record.offset:
            stored.broken[line_id] = hidden(line_id, over)
            continue
        try:
            state = LineState.from_json(record.value or b"", record.place, line_id)
        except StateError as error:
            stored.broken[line_id] = error
        else:
            stored.lines[line_id] = StoredLine(state, record.partition)
    return stored


@dataclass(frozen=True)
class Elsewhere:
    """What the number of partitions that was changed has left where nobody looks for it."""

    lines: Mapping[str, StateError] = field(default_factory=dict)
    """Whose state lies in another partition than they belong in, whether it can be read or not."""
    unread: Incoming | None = None
    """A record that can't be read, in whichever partition, where there are such lines: it may be of one more."""


def find_elsewhere(settings: Settings) -> Elsewhere:
    """Raises KafkaUnavailableError."""
    newest, unread = _newest(settings, None, 30)
    places = {line_id: record.partition for line_id, record in newest.items()}
    lines = misplaced(places, settings.topics.line_state.partitions)
    return Elsewhere(lines, next(iter(unread.values()), None) if lines else None)


def fault_of(settings: Settings, stored: StoredLines, line_id: str) -> StateError | None:
    """Why nobody knows what stands on this line. `stored`: of all partitions."""
    if line_id in stored.lines or line_id in stored.broken:
        return stored.broken.get(line_id)
    unread = stored.unread.get(home_of(settings, line_id))
    places = {name: line.partition for name, line in stored.lines.items()}
    if not unread and misplaced(places, settings.topics.line_state.partitions):
        unread = next(iter(stored.unread.values()), None)  # the number was changed: it may be of any line
    return hidden(line_id, unread) if unread else None


def _hides_lines(unread: Incoming) -> StateError:
    return StateError(
        f"{unread.place} can't be read ({unread.unreadable}). What stands on a line of which nothing newer lies in its "
        "partition is not known: `andon alerting restore-line LINE` says of each line that you miss what was published"
    )


def hidden(line_id: str, unread: Incoming) -> StateError:
    return StateError(
        f"the state of line {line_id!r} may be {unread.place}, which can't be read ({unread.unreadable}). Stop every "
        f"alerting worker: `andon alerting restore-line {line_id}` says what is known of it, and --yes stores that anew"
    )


def home_of(settings: Settings, line_id: str) -> int:
    """The partition of this line, in every topic whose key it is."""
    return partition_of(line_id.encode(), settings.topics.line_state.partitions)


def _newest(
    settings: Settings, partitions: Collection[int] | None, timeout_s: float
) -> tuple[dict[str, Incoming], dict[int, Incoming]]:
    """line → the newest record of the highest epoch: a worker that lost its lines and woke up later may have written an
    old state after a newer one. A copy in another partition counts for less than the one where the line belongs.
    And partition → the last that can't be read."""

    def rank(record: Incoming, line_id: str) -> tuple[int, bool]:
        return epoch_of(record), record.partition == home_of(settings, line_id)

    wanted = None if partitions is None else sorted(partitions)
    newest: dict[str, Incoming] = {}
    unread: dict[int, Incoming] = {}
    topic = settings.topics.line_state.name
    for record in read_to_end(settings, [topic], partitions=wanted, timeout_s=timeout_s):
        if record.unreadable:
            unread[record.partition] = record
            continue
        line_id = (record.key or b"").decode(errors="replace")
        if line_id not in newest or rank(record, line_id) >= rank(newest[line_id], line_id):
            newest[line_id] = record
    return {line_id: record for line_id, record in newest.items() if record.value is not None}, unread


def misplaced(stored: Mapping[str, int], partitions: int) -> dict[str, StateError]:
    """`stored`: the partition of each line's state. Those that lie in another than they belong in, as after the number
    was changed: whoever gets such a line's scores does not know what stands latched."""
    homes = {line_id: partition_of(line_id.encode(), partitions) for line_id in stored}
    return {
        line_id: StateError(
            f"the state of line {line_id!r} lies in partition {was}, and its scores in {homes[line_id]} of "
            f"{partitions}: their number was changed, or another than Andon wrote there. Latched alarms would be "
            "forgotten. Stop every alerting worker, run `andon alerting move-lines`, and start them again"
        )
        for line_id, was in stored.items()
        if was != homes[line_id]
    }


def state_record(settings: Settings, state: LineState, value: bytes | None = None) -> Outgoing:
    """`state` as `line-state` keeps it; `value`: what of it is stored, where that is not all."""
    epoch = str(state.epoch).encode()
    value = state.to_json() if value is None else value
    return Outgoing(settings.topics.line_state.name, state.line_id.encode(), value, ((EPOCH_HEADER, epoch),))


def epoch_of(record: Incoming) -> int:
    found = dict(record.headers).get(EPOCH_HEADER, b"0")
    return int(found) if found.isdigit() else 0


@dataclass(frozen=True)
class Found:
    published: Published
    ends: Mapping[Place, int]
    """How far the topics of events were read: nothing that is published from now on lies before."""


def find_published(settings: Settings, lines: Collection[StoredLine], partitions: Collection[int]) -> Found:
    """Looks for the events of every outbox, from where it says that they can begin.

    Where all outboxes of a partition are empty, only the newest stretch is read, to learn where it ends.
    Raises KafkaUnavailableError.
    """
    alarms, commands = settings.topics.alarms.name, settings.topics.line_commands.name
    start: dict[Place, int] = {}
    for partition in partitions:
        states = [line.state for line in lines if line.partition == partition]
        owing = [state.outbox for state in states if state.outbox.owes]
        newest = [state.outbox for state in states]
        start[alarms, partition] = _begin([o.alarms_from for o in owing], [o.alarms_from for o in newest])
        start[commands, partition] = _begin([o.commands_from for o in owing], [o.commands_from for o in newest])
    ends = dict(start)
    revisions, command_ids = set(), set()
    topics, parts = [alarms, commands], sorted(partitions)
    for record in read_to_end(settings, topics, start=start, partitions=parts):
        ends[record.topic, record.partition] = record.offset + 1
        # A record that can't be read is not ours, so it is none of those looked for. One of ours that a broker's disk
        # has damaged is sent again, by the id it had.
        with suppress(ContractError):
            if record.topic == alarms:
                alarm = Alarm.from_json(record.value)
                revisions.add((alarm.alarm_id, alarm.revision))
            else:
                command_ids.add(LineCommand.from_json(record.value).command_id)
    return Found(Published(frozenset(revisions), frozenset(command_ids)), ends)


def _begin(owing: list[int], newest: list[int]) -> int:
    return min(owing) if owing else max(newest, default=0)
