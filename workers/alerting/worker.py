"""The shell around the pure core: reads scores and operations, stores states, publishes what was decided."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from pipeline.events import ContractError, Operation, Score, now
from pipeline.kafka.connection import KafkaUnavailableError
from pipeline.kafka.consumer import Backpressure
from pipeline.kafka.publisher import Publisher, PublishError
from pipeline.kafka.reading import Place
from pipeline.kafka.records import Incoming, Outgoing
from pipeline.settings import Settings
from workers.alerting.effects import Effect
from workers.alerting.line import step
from workers.alerting.metrics import Metrics
from workers.alerting.outbox import NOTHING, is_expired_hold, post, settle
from workers.alerting.policy import Policies
from workers.alerting.recovery import StoredLine, find_published, read_states
from workers.alerting.state import LineState

log = logging.getLogger(__name__)

RECOVERY_LIMIT_S = 60
PUBLISH_LIMIT_S = 25
"""Beyond the publisher's own limit: a record that is still on its way must not be looked for in vain and sent again."""


@dataclass
class Turn:
    """The lines that one batch has changed, each with its outbox."""

    lines: list[StoredLine]
    tried: bool = False
    """Whether some of it may have got out."""


class AlertingStep:
    """A `Step` of the consumer loop. Single-threaded, like the loop."""

    def __init__(
        self,
        settings: Settings,
        policies: Policies,
        publisher: Publisher,
        metrics: Metrics,
        clock: Callable[[], datetime] = now,
    ) -> None:
        self._settings = settings
        self._topics = settings.topics
        self._policies = policies
        self._publisher = publisher
        self._metrics = metrics
        self._clock = clock
        self._lines: dict[str, StoredLine] = {}
        self._ends: dict[Place, int] = {}

    def assigned(self, partitions: Sequence[tuple[str, int]]) -> None:
        """Takes over the lines of these partitions. Raises when Kafka does not let it: a worker that can't know
        what stands latched must not judge."""
        numbers = {partition for _, partition in partitions}
        self._lines, self._ends = {}, {}
        if not numbers:
            return
        self._lines = read_states(self._settings, numbers)
        found = find_published(self._settings, list(self._lines.values()), numbers)
        self._ends = dict(found.ends)
        owing = [line for line in self._lines.values() if not line.state.outbox.is_empty]
        log.info("took over %d lines of partitions %s", len(self._lines), sorted(numbers))
        if owing:
            self._send_owed(owing)

    def work(self, batch: Sequence[Incoming]) -> Turn:
        decided: dict[str, list[Effect]] = {}
        for record in batch:
            event = self._read(record)
            if event is None:
                continue
            known = self._lines.get(event.line_id)
            state = known.state if known else LineState(line_id=event.line_id)
            stepped = step(state, event, record.offset, self._policies.of(event.line_id), self._clock())
            if stepped.skipped:
                self._metrics.skipped(stepped.skipped.value)
            elif isinstance(event, Score):
                self._metrics.scored(event.verdict.value)
            if stepped.state is not state:
                self._lines[event.line_id] = StoredLine(stepped.state, record.partition)
                decided.setdefault(event.line_id, []).extend(stepped.effects)
        for line_id, events in decided.items():
            self._metrics.decided(events)
            self._lines[line_id] = self._posted(self._lines[line_id], tuple(events))
        return Turn([self._lines[line_id] for line_id in decided])

    def deliver(self, turn: Turn) -> None:
        """States first, then the events that were decided with them, each acknowledged by the broker."""
        try:
            self._send(turn)
        except PublishError as error:
            if not error.retriable:
                raise
            raise Backpressure(str(error)) from error
        except KafkaUnavailableError as error:
            raise Backpressure(str(error)) from error

    def _send(self, turn: Turn) -> None:
        published = NOTHING
        if turn.tried:
            found = find_published(self._settings, turn.lines, {line.partition for line in turn.lines})
            published, self._ends = found.published, {**self._ends, **found.ends}
        turn.tried = True
        turn.lines = [replace(line, state=settle(line.state, published, self._clock())) for line in turn.lines]
        self._lines |= {line.state.line_id: line for line in turn.lines}
        stored = [Outgoing(self._topics.line_state.name, _key(line), line.state.to_json()) for line in turn.lines]
        self._publish(stored)
        held = [command for line in turn.lines for command in line.state.outbox.commands]
        if any(is_expired_hold(command, self._clock()) for command in held):
            raise Backpressure("a HOLD expired while the state of its line was being stored")
        self._publish([record for line in turn.lines for record in self._events(line)])
        for line in turn.lines:
            self._advance(line)

    def _events(self, line: StoredLine) -> Iterator[Outgoing]:
        for alarm in line.state.outbox.alarms:
            log.warning("line %s: %s %s by %s: %s", alarm.line_id, alarm.act, alarm.kind, alarm.actor, alarm.reason)
            yield Outgoing(self._topics.alarms.name, _key(line), alarm.to_json())
        for command in line.state.outbox.commands:
            log.warning("line %s: %s, command %s", command.line_id, command.action, command.command_id)
            yield Outgoing(self._topics.line_commands.name, _key(line), command.to_json())

    def _publish(self, records: Sequence[Outgoing]) -> None:
        self._publisher.publish(records, timeout_s=PUBLISH_LIMIT_S)

    def _advance(self, line: StoredLine) -> None:
        """Each acknowledged event took an offset, so the next one lies at least so much further."""
        outbox = line.state.outbox
        for topic, count in (
            (self._topics.alarms, len(outbox.alarms)),
            (self._topics.line_commands, len(outbox.commands)),
        ):
            place = topic.name, line.partition
            self._ends[place] = self._ends.get(place, 0) + count

    def _send_owed(self, owing: list[StoredLine]) -> None:
        """What the predecessor decided and may not have published. Waits for Kafka, within bounds."""
        log.warning("%d lines have events that may not have been published; looking", len(owing))
        turn, deadline_s = Turn(owing, tried=True), time.monotonic() + RECOVERY_LIMIT_S
        while True:
            try:
                self.deliver(turn)
                break
            except Backpressure as reason:
                if time.monotonic() > deadline_s:
                    raise KafkaUnavailableError(f"could not take over in {RECOVERY_LIMIT_S} s: {reason}") from reason
                time.sleep(0.5)
        self.deliver(Turn([self._posted(line, ()) for line in turn.lines]))

    def _posted(self, line: StoredLine, events: tuple[Effect, ...]) -> StoredLine:
        alarms_from = self._ends.get((self._topics.alarms.name, line.partition), 0)
        commands_from = self._ends.get((self._topics.line_commands.name, line.partition), 0)
        return replace(line, state=post(line.state, events, alarms_from, commands_from))

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


def _key(line: StoredLine) -> bytes:
    return line.state.line_id.encode()
