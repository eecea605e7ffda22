"""The shell around the pure core: reads records, stores states, orders PLCs, publishes what was decided."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from pipeline import tracing
from pipeline.events import (
    CHECK,
    Alarm,
    AuditEntry,
    BootEnd,
    CommandReply,
    ContractError,
    LineCommand,
    Operation,
    Score,
    now,
)
from pipeline.kafka.connection import KafkaUnavailableError
from pipeline.kafka.lease import Lease
from pipeline.kafka.publisher import Publisher, PublishError
from pipeline.kafka.reading import Place
from pipeline.kafka.records import Incoming, Outgoing
from pipeline.kafka.step import Backpressure
from pipeline.settings import Settings
from pipeline.topics import Topic
from pipeline.tracing import Tracer
from workers.alerting.core import outbox, register, reports, silence, stops, weight
from workers.alerting.core.effects import Effect, Takeover
from workers.alerting.core.line import Skip, step
from workers.alerting.core.outbox import NOTHING, Published, is_void, settle
from workers.alerting.core.silence import Pulses
from workers.alerting.core.state import FORGOTTEN_AFTER, LineState, StateError
from workers.alerting.metrics import Metrics
from workers.alerting.plcs.plant import Plant
from workers.alerting.policy import Policies
from workers.alerting.recovery import Elsewhere, StoredLine, find_published, hidden, home_of, read_stored, state_record
from workers.alerting.spans import decision_spans, reply_spans

log = logging.getLogger(__name__)

RECOVERY_LIMIT_S = 60
PUBLISH_LIMIT_S = 25
"""Beyond the publisher's own limit: a record that is still on its way must not be looked for in vain and sent again."""
TICK_S = 0.5
"""How often time alone may move something: a shelf, a silence, a flood."""
ALIVE_S = 3.0
"""For so long a PLC's heartbeat goes on after the last look at its line. The look comes with every tick, and a busy
worker or a slow broker may take its time; a hung one may not."""

MAX_UNSCORED_LINES = 1_000
"""Begun from heartbeats, without a score and without a policy of their own: whoever may send those could make up any
number, and a stop waits for the look at each of them. And so many are told to be unwatched, where a record that can't
be read may be of any."""


@dataclass
class Turn:
    """The lines that one batch has changed, each with its outbox."""

    lines: list[StoredLine]
    tried: bool = False
    """Whether some of it may have got out."""


@dataclass
class _Decided:
    """What one batch decided for one line."""

    effects: list[Effect] = field(default_factory=list)
    shadows: list[LineCommand] = field(default_factory=list)


class AlertingStep:
    """A `Step` of the consumer loop. Single-threaded, like the loop."""

    def __init__(
        self,
        settings: Settings,
        policies: Policies,
        publisher: Publisher,
        metrics: Metrics,
        clock: Callable[[], datetime] = now,
        *,
        lease: Lease | None = None,
        plant: Plant | None = None,
        pulses: Callable[[], Pulses] = dict,
        tracer: Tracer | None = None,
        stop: threading.Event | None = None,
        elsewhere: Callable[[], Elsewhere] = Elsewhere,
    ) -> None:
        """`stop`: a takeover that waits for Kafka waits no longer."""
        self._settings = settings
        self._topics = settings.topics
        self._policies = policies
        self._publisher = publisher
        self._metrics = metrics
        self._clock = clock
        self._lease = lease
        self._plant = plant
        self._pulses = pulses
        self._tracer = tracer
        self._stop = stop or threading.Event()
        self._elsewhere = elsewhere
        self._lines: dict[str, StoredLine] = {}
        self._broken: set[str] = set()
        """Lines whose state can't be read or lies elsewhere: left alone, never begun anew, until a person mends it."""
        self._unread: Mapping[int, Incoming] = {}
        """Partition → a record that can't be read, and may be all there is of a line of this partition."""
        self._partitions: set[int] = set()
        self._ends: dict[Place, int] = {}
        self._resting: set[str] = set()
        """Of these lines, those that time can't move: nobody looks at them until something is heard of them again."""
        self._told_too_many = self._told_too_many_hidden = False
        self._left_out: dict[str, tuple[str, ...]] = {}
        self._told_misplaced: set[Place] = set()
        self._watching_since = clock()
        self._ticked_s = 0.0

    def assigned(self, partitions: Sequence[tuple[str, int]]) -> None:
        """Takes over the lines of these partitions. Raises when Kafka does not let it, and is to be called again: a
        worker that can't know what stands latched must not judge."""
        numbers = {partition for _, partition in partitions}
        self._lines, self._broken, self._ends, self._watching_since = {}, set(), {}, self._clock()
        self._partitions, self._resting = numbers, set()
        self._told_too_many = self._told_too_many_hidden = False
        self._metrics.forget_lines()
        if self._plant:
            self._plant.hold_only(())
        if not numbers:
            return
        stored = read_stored(self._settings, numbers)
        misplaced = self._elsewhere()
        elsewhere = {name: why for name, why in misplaced.lines.items() if home_of(self._settings, name) in numbers}
        broken = {**stored.broken, **elsewhere}
        self._lines = {line_id: line for line_id, line in stored.lines.items() if line_id not in broken}
        self._unread = (dict.fromkeys(numbers, misplaced.unread) if misplaced.unread else {}) | stored.unread
        for line_id, error in broken.items():
            self._leave_alone(line_id, error)
        if self._plant:
            self._add_lines_with_a_plc(numbers, self._plant.lines)
        found = find_published(self._settings, list(self._lines.values()), numbers)
        self._ends = dict(found.ends)
        log.info("took over %d lines of partitions %s", len(self._lines), sorted(numbers))
        if self._plant:
            self._plant.hold_only(self._lines)
        if self._lines:
            self._take_over(found.published)

    def work(self, batch: Sequence[Incoming]) -> Turn | None:
        """An empty batch is a tick. None where nothing has changed."""
        decided: dict[str, _Decided] = {}
        for record in batch:
            event = self._read(record)
            if event is None or (event.line_id == CHECK and isinstance(event, Score)):
                continue
            if event.line_id in self._broken:
                self._metrics.skipped(Skip.STATE_UNREADABLE.value)
                continue
            partition = home_of(self._settings, event.line_id)
            if partition != record.partition:
                # Its line may be another worker's: begun anew here, it would hide the true state. And offsets of one
                # partition say nothing of what was applied of another.
                self._tell_misplaced(record, event.line_id, partition)
                self._metrics.skipped(Skip.MISPLACED.value)
                continue
            known = self._lines.get(event.line_id)
            if known is None and not self._may_begin(event.line_id, partition):
                self._metrics.skipped(Skip.STATE_UNREADABLE.value)
                continue
            state = known.state if known else LineState(line_id=event.line_id, epoch=1)
            at = self._clock()
            stepped = step(state, event, record.offset, record.timestamp_ms, self._policies.of(event.line_id), at)
            if self._tracer and isinstance(event, Score) and (stepped.effects or stepped.shadows):
                decided_now = [*stepped.effects, *stepped.shadows]
                decision_spans(self._tracer, event, decided_now, at, self._clock())
            if stepped.skipped:
                self._metrics.skipped(stepped.skipped.value)
            elif isinstance(event, Score):
                self._metrics.scored(event.verdict.value)
            if stepped.state is not state:
                self._lines[event.line_id] = StoredLine(stepped.state, partition)
                self._resting.discard(event.line_id)
                line = decided.setdefault(event.line_id, _Decided())
                line.effects += stepped.effects
                line.shadows += stepped.shadows
        self._hear_plcs(decided)
        self._tick(decided)
        for line_id, line in decided.items():
            self._metrics.decided([*line.effects, *line.shadows])
            self._lines[line_id] = self._posted(self._lines[line_id], line)
        return Turn([self._lines[line_id] for line_id in decided]) if decided else None

    def deliver(self, turn: Turn | None) -> None:
        """States first, then the PLCs and the events that were decided with them."""
        if turn is None:
            return
        try:
            self._send(turn)
        except PublishError as error:
            if not error.may_pass:
                raise
            raise Backpressure(str(error)) from error
        except KafkaUnavailableError as error:
            raise Backpressure(str(error)) from error

    def _hear_plcs(self, decided: dict[str, _Decided]) -> None:
        for report in self._plant.reports(self._lines) if self._plant else ():
            self._change(report.line_id, self._heard(self._lines[report.line_id].state, report), decided)

    def _heard(self, state: LineState, report: reports.Report) -> register.Changed:
        actuator = self._policies.of(state.line_id).actuator
        orders, address = (actuator.orders, actuator.address) if actuator else ((), None)
        changed = reports.apply(state, report, self._clock(), orders, address)
        if self._tracer:
            reply_spans(self._tracer, state.last_command, changed[1])
        return changed

    def _hear_meanwhile(self, turn: Turn) -> None:
        """What the PLCs told while the turn waited for Kafka: a stop that its line has confirmed is not given up."""
        waiting = {line.state.line_id: line for line in turn.lines}
        for report in self._plant.reports(waiting) if self._plant else ():
            line = waiting[report.line_id]
            state, events = self._heard(line.state, report)
            self._metrics.decided(events)
            if state is not line.state:
                waiting[report.line_id] = replace(line, state=outbox.add(state, events))
        turn.lines = list(waiting.values())

    def _tick(self, decided: dict[str, _Decided]) -> None:
        if time.monotonic() - self._ticked_s < TICK_S:
            return
        self._ticked_s = time.monotonic()
        at, pulses = self._clock(), self._pulses()
        self._watching_since = min(self._watching_since, at)  # a clock that was set back must not put an alarm off
        self._add_lines_of_cameras(pulses, at)
        pulses_of = silence.for_each_line(pulses)
        for line_id in [name for name in self._lines if name not in self._resting]:
            policy, state = self._policies.of(line_id), self._lines[line_id].state
            heard = pulses_of(state)
            watch = silence.look(state, heard, policy, at, self._watching_since)
            if policy is self._policies.defaults and silence.rests(state, watch, heard, at):
                self._resting.add(line_id)
                self._metrics.forget_line(line_id)
                continue
            self._metrics.watched(line_id, watch)
            if self._plant:
                self._plant.alive(line_id, watch.alive, ALIVE_S)
            self._change(line_id, register.tick(self._lines[line_id].state, at), decided)
            self._change(line_id, stops.tick(self._lines[line_id].state, policy, at), decided)
            if policy.actuator is None:
                self._change(line_id, reports.without_plc(self._lines[line_id].state, at), decided)
            self._change(line_id, silence.tick(self._lines[line_id].state, watch, policy, at), decided)
        self._metrics.forget_counts()

    def _change(self, line_id: str, changed: register.Changed, decided: dict[str, _Decided]) -> None:
        state, events = changed
        if state is not self._lines[line_id].state:
            self._lines[line_id] = replace(self._lines[line_id], state=state)
            decided.setdefault(line_id, _Decided()).effects += events

    def _send(self, turn: Turn) -> None:
        self._be_sure()
        published = NOTHING
        self._hear_meanwhile(turn)
        if turn.tried:
            found = find_published(self._settings, turn.lines, {line.partition for line in turn.lines})
            published, self._ends = found.published, {**self._ends, **found.ends}
        turn.tried = True
        turn.lines = [replace(line, state=settle(line.state, published, self._clock())) for line in turn.lines]
        self._lines |= {line.state.line_id: line for line in turn.lines}
        self._publish([self._stored(line) for line in turn.lines])
        if self._plant:
            for line in turn.lines:
                self._plant.order(line.state)
        at = self._clock()
        if any(is_void(line.state, command, at) for line in turn.lines for command in line.state.outbox.commands):
            raise Backpressure("a stop expired while the state of its line was being stored")
        self._be_sure()
        self._publish([record for line in turn.lines for record in self._events(line)])
        for line in turn.lines:
            self._advance(line)

    def _be_sure(self) -> None:
        if self._lease is not None and not self._lease.held:
            raise Backpressure("this worker can't be sure that the lines are still its own")

    def _stored(self, line: StoredLine) -> Outgoing:
        value, left_out = weight.stored(line.state)
        self._tell_left_out(line.state.line_id, left_out)
        return state_record(self._settings, line.state, value)

    def _tell_left_out(self, line_id: str, left_out: tuple[str, ...]) -> None:
        """Once for each change: a heavy line is stored several times a second."""
        if left_out != self._left_out.get(line_id, ()):
            self._left_out[line_id] = left_out
            told = f"without {', '.join(left_out)}; ask for shorter windows" if left_out else "as a whole again"
            log.warning("line %s: its state is stored %s", line_id, told)

    def _events(self, line: StoredLine) -> Iterator[Outgoing]:
        key, out, topics = _key(line), line.state.outbox, self._topics
        for alarm in out.alarms:
            log.warning("line %s: %s %s by %s: %s", alarm.line_id, alarm.act, alarm.kind, alarm.actor, alarm.reason)
            yield _event(topics.alarms, key, alarm)
        for command in out.commands:
            log.warning("line %s: %s, command %s", command.line_id, command.action, command.command_id)
            yield _event(topics.line_commands, key, command)
        for reply in out.replies:
            log.warning(
                "line %s: %s %s, read back: %s", reply.line_id, reply.action, reply.outcome, reply.value_read_back
            )
            yield _event(topics.command_replies, key, reply)
        for shadow in out.shadows:
            yield _event(topics.shadow_commands, key, shadow)
        for entry in out.audit:
            yield _event(topics.audit_log, key, entry)

    def _publish(self, records: Sequence[Outgoing]) -> None:
        self._publisher.publish(records, timeout_s=PUBLISH_LIMIT_S)

    def _advance(self, line: StoredLine) -> None:
        """Each acknowledged event took an offset, so the next one lies at least so much further."""
        out = line.state.outbox
        for topic, count in ((self._topics.alarms, len(out.alarms)), (self._topics.line_commands, len(out.commands))):
            place = topic.name, line.partition
            self._ends[place] = self._ends.get(place, 0) + count

    def _add_lines_with_a_plc(self, numbers: set[int], lines: Sequence[str]) -> None:
        """A PLC wants its heartbeat before the first frame, and to be left alone by every other worker."""
        for line_id in lines:
            partition = home_of(self._settings, line_id)
            if partition in numbers and self._may_begin(line_id, partition):
                self._lines[line_id] = StoredLine(LineState(line_id=line_id), partition)

    def _add_lines_of_cameras(self, pulses: Pulses, at: datetime) -> None:
        """A camera that never had a score, as with a wrong address or recipe, is missed all the same."""
        left_out = self._resting | self._policies.lines.keys()
        unscored = sum(not line.state.cameras for name, line in self._lines.items() if name not in left_out)
        for pulse in pulses.values():
            beat = pulse.beat
            runs = beat.end is BootEnd.RUNNING and at - pulse.heard_at <= FORGOTTEN_AFTER
            if runs:
                self._resting.discard(beat.line_id)
            if runs and beat.line_id not in self._lines:
                partition = home_of(self._settings, beat.line_id)
                if partition not in self._partitions or not self._may_begin(beat.line_id, partition):
                    continue
                if unscored >= MAX_UNSCORED_LINES:
                    self._tell_too_many(beat.line_id)
                else:
                    unscored += 1
                    self._lines[beat.line_id] = StoredLine(LineState(line_id=beat.line_id, epoch=1), partition)

    def _tell_too_many(self, line_id: str) -> None:
        if not self._told_too_many:
            self._told_too_many = True
            log.error(
                "%d lines are known by heartbeats alone, and no more are taken: %s, and others, are missed once they "
                "had a score. Look who sends heartbeats under names of lines that there are none of",
                MAX_UNSCORED_LINES,
                line_id,
            )

    def _may_begin(self, line_id: str, partition: int) -> bool:
        """Whether this line is a new one. Where something can't be read, that may be all there is of it: it is left
        alone then, and told of."""
        if line_id in self._lines or line_id in self._broken:
            return False
        if partition in self._unread:
            why = hidden(line_id, self._unread[partition])
            if line_id in self._policies.lines or len(self._broken - self._policies.lines.keys()) < MAX_UNSCORED_LINES:
                self._leave_alone(line_id, why)
            elif not self._told_too_many_hidden:
                self._told_too_many_hidden = True
                log.error("more lines are not watched, and are not told one by one, as they may be made up: %s", why)
            return False
        return True

    def _leave_alone(self, line_id: str, why: StateError) -> None:
        self._broken.add(line_id)
        log.error("line %s is not watched, and nothing drives its PLC: %s", line_id, why)
        self._metrics.state_unreadable(line_id)

    def _tell_misplaced(self, record: Incoming, line_id: str, partition: int) -> None:
        """Once for each partition: it may be every record of a writer."""
        place = record.topic, record.partition
        if place not in self._told_misplaced:
            self._told_misplaced.add(place)
            log.error(
                "%s is of line %s, whose records belong in partition %d: it counts for nothing. Who writes there has "
                "to hash keys as Kafka's Java client does (docs/subscribe.md)",
                record.place,
                line_id,
                partition,
            )

    def _take_over(self, published: Published) -> None:
        """Stores a new epoch for every line before anything else is done for it, and publishes what the predecessor
        decided and may not have published. Waits for Kafka, within bounds."""
        owing = [line_id for line_id, line in self._lines.items() if line.state.outbox.owes]
        if owing:
            log.warning("%d lines had events that may not have been published", len(owing))
        settled = [replace(line, state=settle(line.state, published, self._clock())) for line in self._lines.values()]
        turn = Turn([self._with_new_epoch(line) for line in settled])
        self._deliver_within_bounds(turn)
        if owing:
            posted = [self._posted(self._lines[line_id], _Decided()) for line_id in owing]
            self._lines |= {line.state.line_id: line for line in posted}
            self._deliver_within_bounds(Turn(posted))

    def _with_new_epoch(self, line: StoredLine) -> StoredLine:
        state = line.state.model_copy(update={"epoch": line.state.epoch + 1})
        actuator, at = self._policies.of(state.line_id).actuator, self._clock()
        address, orders = (actuator.address, actuator.orders) if actuator else (None, ())
        state, told = reports.named(state, address, orders, at)
        if actuator is None:  # before a reset that waits already: with it, nothing is asked of the line any more
            state, more = reports.without_plc(state, at)
            told = (*told, *more)
        events = [Takeover(state.line_id, state.epoch, at), *told]
        self._metrics.decided(events)
        return replace(line, state=outbox.add(state, events))

    def _deliver_within_bounds(self, turn: Turn) -> None:
        deadline_s = time.monotonic() + RECOVERY_LIMIT_S
        while True:
            if self._lease and not self._lease.refresh():
                raise Backpressure("the group takes this worker for gone, and it has to join again first")
            try:
                self.deliver(turn)
                return
            except Backpressure:
                if time.monotonic() > deadline_s or self._stop.wait(0.5):
                    raise

    def _posted(self, line: StoredLine, decided: _Decided) -> StoredLine:
        alarms_from = self._ends.get((self._topics.alarms.name, line.partition), 0)
        commands_from = self._ends.get((self._topics.line_commands.name, line.partition), 0)
        return replace(
            line, state=outbox.post(line.state, decided.effects, alarms_from, commands_from, decided.shadows)
        )

    def _read(self, record: Incoming) -> Score | Operation | None:
        """A record that does not keep its contract is counted, logged and skipped. It is no frame: what became of
        each frame is accounted for where it was scored, and one bad record must not blind a line."""
        contract = Score if record.topic == self._topics.scores.name else Operation
        try:
            return contract.from_json(record.value)
        except ContractError as error:
            self._metrics.unreadable(record.topic)
            log.error("%s skipped: %s", record.place, error)
            return None


def _event(topic: Topic, key: bytes, event: Alarm | AuditEntry | CommandReply | LineCommand) -> Outgoing:
    return Outgoing(topic.name, key, event.to_json(), tracing.headers(event.traceparent))


def _key(line: StoredLine) -> bytes:
    return line.state.line_id.encode()
