"""A step that dies at any point of its delivery, and the step that comes after it."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from alerting.factory import Line, heartbeat
from alerting.heavy import heavy_state
from alerting.running import (
    POLICIES,
    alarms,
    burst,
    commands,
    publish,
    read_states,
    wait_for_commands,
    with_more_partitions,
    worker,
)
from kafka import KafkaConsumer, KafkaProducer
from support.stream import NotText, send_unreadable, settings_for, wait_until

from pipeline.boot_time import boot_time_s
from pipeline.events import Act, Action, AlarmKind, Verdict, now
from pipeline.kafka.admin import ensure_topics
from pipeline.kafka.connection import KafkaUnavailableError
from pipeline.kafka.lease import Lease
from pipeline.kafka.partitioning import partition_of
from pipeline.kafka.publisher import Publisher, PublishError
from pipeline.kafka.reading import read_to_end
from pipeline.kafka.records import Incoming, Outgoing
from pipeline.kafka.step import Backpressure
from pipeline.settings import Settings
from workers.alerting import worker as worker_module
from workers.alerting.core.silence import Pulse
from workers.alerting.core.state import MAX_CAMERAS, Applied, LineState, StateError
from workers.alerting.metrics import Metrics
from workers.alerting.people.asking import ask
from workers.alerting.people.audit_log import gaps, read_log
from workers.alerting.plcs.plant import Plant
from workers.alerting.policy import Policies
from workers.alerting.recovery import Found, StoredLine, find_elsewhere, find_published, state_record
from workers.alerting.upkeep.moving import move
from workers.alerting.upkeep.restoring import restore
from workers.alerting.worker import TICK_S, AlertingStep, Turn
from workers.plc.ladder import Ladder
from workers.plc.station import Station

pytestmark = pytest.mark.services

Passes = Callable[[Outgoing], bool]


class Died(Exception):
    """Stands for the end of the process."""


class FaultyPublisher(Publisher):
    """Publishes what `passes`, then fails if something did not."""

    passes: Passes = staticmethod(lambda _: True)
    error: Exception = Died()

    def publish(self, records: Iterable[Outgoing], timeout_s: float = 30) -> None:
        records = list(records)
        passing = [record for record in records if self.passes(record)]
        super().publish(passing, timeout_s)
        if len(passing) < len(records):
            raise self.error


@pytest.fixture
def publisher(settings: Settings) -> Iterator[FaultyPublisher]:
    publisher = FaultyPublisher(settings, "test")
    yield publisher
    publisher.close()


@pytest.fixture
def batch(settings: Settings) -> list[Incoming]:
    publish(settings, burst())
    return list(read_to_end(settings, [settings.topics.scores.name]))


def new_step(
    settings: Settings, publisher: Publisher, clock: Callable[[], datetime] = now, metrics: Metrics | None = None
) -> AlertingStep:
    step = AlertingStep(settings, POLICIES, publisher, metrics or Metrics(), clock)
    topics = settings.topics
    step.assigned([(topic.name, partition) for topic in (topics.scores, topics.operations) for partition in (0, 1)])
    return step


def do(step: AlertingStep, batch: list[Incoming]) -> None:
    turn = step.work(batch)
    if turn:
        step.deliver(turn)


def later() -> datetime:
    return now() + timedelta(hours=1)


DIES_BEFORE = {
    "the state": lambda record: False,
    "the alarm and the command": lambda record: record.topic.endswith("line-state"),
    "the command": lambda record: not record.topic.endswith("line-commands"),
    "the alarm": lambda record: not record.topic.endswith("alarms"),
}


def test_the_heaviest_line_is_stored_and_taken_over(settings: Settings, publisher: FaultyPublisher) -> None:
    """A worker that could not store it would end, and so would each of its successors."""
    heavy = heavy_state(MAX_CAMERAS, candidates=4, long={"camera": 64, "part": 128})
    step = new_step(settings, publisher)
    turn = Turn([StoredLine(heavy, partition_of(b"line-1", settings.topics.line_state.partitions))])
    step.deliver(turn)
    assert read_states(settings)["line-1"].state.cameras.keys() == heavy.cameras.keys()
    new_step(settings, publisher)
    found = read_states(settings)["line-1"].state
    assert found.epoch == heavy.epoch + 1
    assert all(found.cameras[name].parts == camera.parts for name, camera in heavy.cameras.items())


def test_a_takeover_is_counted(settings: Settings, publisher: FaultyPublisher, batch: list[Incoming]) -> None:
    do(new_step(settings, publisher), batch)
    metrics = Metrics()
    new_step(settings, publisher, metrics=metrics)
    assert metrics.registry.get_sample_value("andon_alerting_takeovers_total") == 1


def test_a_takeover_looks_once_for_what_was_published(
    settings: Settings, publisher: FaultyPublisher, batch: list[Incoming], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It looked twice, and no line of the worker had its heartbeat meanwhile, at each rebalance."""
    do(new_step(settings, publisher), batch)
    looked: list[Found] = []

    def look(*asked: Any) -> Found:
        looked.append(find_published(*asked))
        return looked[-1]

    monkeypatch.setattr(worker_module, "find_published", look)
    new_step(settings, publisher)
    assert len(looked) == 1


@pytest.mark.parametrize("point", DIES_BEFORE)
def test_wherever_the_first_dies_the_second_completes_it_once(
    point: str, settings: Settings, publisher: FaultyPublisher, batch: list[Incoming]
) -> None:
    first = new_step(settings, publisher)
    publisher.passes = DIES_BEFORE[point]
    with pytest.raises(Died):
        do(first, batch)
    publisher.passes = lambda _: True
    second = new_step(settings, publisher)
    do(second, batch)
    third = new_step(settings, publisher)
    do(third, batch)
    assert [command.action for command in commands(settings)] == [Action.HOLD]
    assert [alarm.act for alarm in alarms(settings)] == [Act.RAISE]
    state = read_states(settings)["line-1"].state
    assert [entry.alarm for entry in state.alarms] == alarms(settings)
    assert not state.outbox.owes


def test_a_successor_that_comes_too_late_does_not_stop_the_line(
    settings: Settings, publisher: FaultyPublisher, batch: list[Incoming]
) -> None:
    first = new_step(settings, publisher)
    publisher.passes = DIES_BEFORE["the command"]
    with pytest.raises(Died):
        do(first, batch)
    publisher.passes = lambda _: True
    new_step(settings, publisher, later)
    assert commands(settings) == []
    assert [alarm.act for alarm in alarms(settings)] == [Act.RAISE, Act.NOTE]


def test_a_dead_camera_is_missed_in_time_although_the_clock_was_set_back(
    settings: Settings, publisher: FaultyPublisher, batch: list[Incoming]
) -> None:
    began = now()
    at = [began]
    step = new_step(settings, publisher, lambda: at[0])
    do(step, batch[:1])
    for later_s in (-3600, -2990):  # the policy bears a silence of 600 s
        at[0] = began + timedelta(seconds=later_s)
        time.sleep(TICK_S)
        do(step, [])
    assert [alarm.kind for alarm in alarms(settings)] == [AlarmKind.CAMERA_SILENT]


@pytest.mark.parametrize("why", [{"retriable": True}, {"retriable": False, "refused": True}], ids=["away", "refused"])
def test_a_delivery_that_waits_and_is_tried_again_doubles_nothing(
    why: dict[str, bool], settings: Settings, publisher: FaultyPublisher, batch: list[Incoming]
) -> None:
    """A right that is withdrawn from one topic ended the worker, and each successor."""
    step = new_step(settings, publisher)
    turn = step.work(batch)
    assert turn
    publisher.error = PublishError("the broker is away, or refuses", **why)
    for point in ("the state", "the alarm and the command", "the command"):
        publisher.passes = DIES_BEFORE[point]
        with pytest.raises(Backpressure):
            step.deliver(turn)
    publisher.passes = lambda _: True
    step.deliver(turn)
    assert [command.action for command in commands(settings)] == [Action.HOLD]
    assert [alarm.act for alarm in alarms(settings)] == [Act.RAISE]


def test_a_hold_that_waited_too_long_for_the_broker_is_not_sent(
    settings: Settings, publisher: FaultyPublisher, batch: list[Incoming]
) -> None:
    clock = [now()]
    step = new_step(settings, publisher, lambda: clock[0])
    turn = step.work(batch)
    assert turn
    publisher.error = PublishError("the broker is away", retriable=True)
    publisher.passes = DIES_BEFORE["the state"]
    with pytest.raises(Backpressure):
        step.deliver(turn)
    publisher.passes = lambda _: True
    clock[0] = later()
    step.deliver(turn)
    assert commands(settings) == []
    assert [alarm.act for alarm in alarms(settings)] == [Act.RAISE, Act.NOTE]


def watched(metrics: Metrics, line: str) -> float | None:
    time.sleep(TICK_S)
    return metrics.registry.get_sample_value("andon_alerting_watched_cameras", {"line": line})


def test_a_line_of_which_nothing_was_heard_for_a_day_is_looked_at_no_more_until_a_score_comes(
    settings: Settings, publisher: FaultyPublisher
) -> None:
    """It was renamed: each look at it made a stop of another line wait, and its metrics stood there for ever."""
    publish(settings, burst(verdict=Verdict.OK))
    at, metrics = [now()], Metrics()
    step = new_step(settings, publisher, lambda: at[0], metrics)
    do(step, list(read_to_end(settings, [settings.topics.scores.name])))
    assert watched(metrics, "line-1") == 1
    at[0] += timedelta(days=2)
    do(step, [])
    assert watched(metrics, "line-1") is None
    more = [event.model_copy(update={"captured_at": at[0], "scored_at": at[0]}) for event in burst(first=3)]
    publish(settings, more)
    do(step, list(read_to_end(settings, [settings.topics.scores.name])))
    assert [command.action for command in commands(settings)] == [Action.HOLD]
    do(step, [])
    assert watched(metrics, "line-1") == 1
    at[0] += timedelta(days=2)
    do(step, [])
    assert watched(metrics, "line-1") is not None  # it is held


def test_lines_that_only_heartbeats_tell_of_are_bounded(
    settings: Settings, publisher: FaultyPublisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "MAX_UNSCORED_LINES", 2)
    beats = [heartbeat().model_copy(update={"line_id": f"line-{n}", "sent_at": now()}) for n in range(4)]
    pulses = {f"cam-{n}": Pulse(beat, beat.sent_at) for n, beat in enumerate(beats)}
    metrics = Metrics()
    step = AlertingStep(settings, POLICIES, publisher, metrics, pulses=lambda: pulses)
    step.assigned([(settings.topics.scores.name, partition) for partition in (0, 1)])
    do(step, [])
    assert [watched(metrics, f"line-{n}") for n in range(4)] == [1, 1, None, None]
    publish(settings, burst("line-3"))
    do(step, list(read_to_end(settings, [settings.topics.scores.name])))
    assert [command.line_id for command in commands(settings)] == ["line-3"]


def test_a_new_line_is_watched_whose_cameras_clocks_are_days_behind(
    settings: Settings, publisher: FaultyPublisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing told of it but its heartbeats, and no alarm of their clocks."""
    monkeypatch.setattr(worker_module, "TICK_S", 0)
    beat = heartbeat().model_copy(update={"sent_at": now() - timedelta(days=2)})
    pulses = {"cam-1": Pulse(beat, beat.sent_at)}
    metrics = Metrics()
    step = AlertingStep(settings, POLICIES, publisher, metrics, pulses=lambda: pulses)
    step.assigned([(settings.topics.scores.name, partition) for partition in (0, 1)])
    do(step, [])
    assert watched(metrics, "line-1") is None  # it may have lain there for as long
    pulses["cam-1"] = Pulse(beat, beat.sent_at, read_at=now())
    do(step, [])
    assert watched(metrics, "line-1") == 1


def test_a_stop_at_a_plc_that_left_the_policy_is_told_before_a_reset_that_waits_is_done(
    settings: Settings, publisher: FaultyPublisher
) -> None:
    """Once it is done nothing is asked of the line any more, and nobody could know."""
    held = Line().burst().state.model_copy(update={"proved": True, "stands_at": "modbus://plc"})
    publisher.publish([state_record(settings, held)])
    new_step(settings, publisher)
    assert "HOLD stands at modbus://plc, a PLC that the policy does not name" in alarms(settings)[-1].reason


def test_lines_that_only_heartbeats_tell_of_are_bounded_where_a_record_cannot_be_read(
    settings: Settings, publisher: FaultyPublisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each made-up name was logged, kept, and had a metric of its own. A line with a policy is told all the same."""
    monkeypatch.setattr(worker_module, "MAX_UNSCORED_LINES", 2)
    send_unreadable(settings, settings.topics.line_state.name)
    (odd,) = read_to_end(settings, [settings.topics.line_state.name])
    names = [name for name in map("line-{}".format, range(50)) if partition_of(name.encode(), 2) == odd.partition][:5]
    policies = Policies.model_validate({**POLICIES.model_dump(), "lines": {names[4]: {}}})
    beats = [heartbeat().model_copy(update={"line_id": name, "sent_at": now()}) for name in names]
    pulses = {f"cam-{n}": Pulse(beat, beat.sent_at) for n, beat in enumerate(beats)}
    metrics = Metrics()
    step = AlertingStep(settings, policies, publisher, metrics, pulses=lambda: pulses)
    step.assigned([(settings.topics.scores.name, partition) for partition in (0, 1)])
    do(step, [])
    told = [metrics.registry.get_sample_value("andon_alerting_state_unreadable", {"line": name}) for name in names]
    assert told == [1, 1, None, None, 1]


def test_what_a_plc_confirms_while_kafka_is_slow_is_counted(
    settings: Settings, publisher: FaultyPublisher, batch: list[Incoming], unused_port: int
) -> None:
    """The histogram of the stop path lacked exactly its slowest stops."""
    modbus = {"type": "modbus", "host": "127.0.0.1", "port": unused_port, "block": 0, "coils": {"stop": 0}}
    line = {"actuator": modbus, "on_loss": "run-with-alarm"}
    policies = Policies.model_validate({**POLICIES.model_dump(), "lines": {"line-1": line}})
    lease, metrics, ladder = Lease(60), Metrics(), Ladder("line-1")
    lease.renew(boot_time_s())
    plant = Plant(policies, lease)
    step = AlertingStep(settings, policies, publisher, metrics, lease=lease, plant=plant)
    with Station([ladder], modbus_port=unused_port):
        step.assigned([(settings.topics.scores.name, partition) for partition in (0, 1)])
        turn = step.work(batch)
        assert turn
        publisher.error = PublishError("the broker is slow", retriable=True)
        publisher.passes = DIES_BEFORE["the alarm and the command"]
        told = metrics.registry.get_sample_value

        def counted() -> bool:
            with pytest.raises(Backpressure):
                step.deliver(turn)
            return told("andon_alerting_replies_total", {"outcome": "accepted"}) == 1

        wait_until(counted)
        plant.close()
    assert told("andon_alerting_capture_to_read_back_seconds_count") == 1


def test_a_takeover_reads_only_what_its_states_point_at(
    settings: Settings, publisher: FaultyPublisher, batch: list[Incoming]
) -> None:
    """The history of a factory grows; the time to take over does not."""
    step = new_step(settings, publisher)
    do(step, batch)
    publish(settings, burst(first=3))
    more = [record for record in read_to_end(settings, [settings.topics.scores.name]) if record not in batch]
    do(step, more)
    outbox = read_states(settings)["line-1"].state.outbox
    assert (outbox.alarms_from, outbox.commands_from) == (1, 1)


@pytest.mark.parametrize("topic", ["alarms", "line_commands"])
def test_what_cannot_be_read_among_the_events_ends_no_takeover(
    topic: str, settings: Settings, publisher: FaultyPublisher, batch: list[Incoming]
) -> None:
    first = new_step(settings, publisher)
    publisher.passes = DIES_BEFORE["the command"]
    with pytest.raises(Died):
        do(first, batch)
    publisher.passes = lambda _: True
    headers = ((NotText("x"), b"1"),)
    publisher.publish([Outgoing(getattr(settings.topics, topic).name, b"line-1", b"{}", headers)])
    do(new_step(settings, publisher), batch)
    published = [settings.topics.alarms.name, settings.topics.line_commands.name]
    readable = [record for record in read_to_end(settings, published) if not record.unreadable]
    assert sorted(record.topic for record in readable) == sorted(published)


@pytest.mark.parametrize("holds_the_line", [False, True])
def test_what_lies_in_another_partition_than_its_line_counts_for_nothing(
    holds_the_line: bool, settings: Settings, publisher: FaultyPublisher, batch: list[Incoming]
) -> None:
    """A worker that did not hold the line began it anew, under the key of the true state, which compaction may then
    drop with its latched alarm. One that does would take offsets of another partition for those that were applied."""
    metrics = Metrics()
    step = AlertingStep(settings, POLICIES, publisher, metrics)
    (elsewhere,) = {0, 1} - {record.partition for record in batch}
    step.assigned([(settings.topics.scores.name, number) for number in ((0, 1) if holds_the_line else (elsewhere,))])
    do(step, [replace(record, partition=elsewhere) for record in batch])
    assert read_states(settings) == {}
    assert metrics.registry.get_sample_value("andon_alerting_skipped_total", {"reason": "misplaced"}) == len(batch)


@pytest.mark.parametrize("point", ["the alarm and the command", "the command", "the commit"])
def test_a_line_that_is_moved_keeps_what_was_decided_and_not_published(
    point: str, kafka_bootstrap: str, unique: str
) -> None:
    """Its alarm stood and never came out, its stop was never sent, and the audit log had a gap, as if tampered with."""
    few = settings_for(kafka_bootstrap, unique, line_partitions=1)
    ensure_topics(few, few.topics)
    line = next(f"line-{n}" for n in range(50) if partition_of(f"line-{n}".encode(), 2) == 1)
    publish(few, burst(line))
    publisher = FaultyPublisher(few, "test")
    publisher.passes = DIES_BEFORE.get(point, lambda _: True)
    with suppress(Died):
        do(new_step(few, publisher), list(read_to_end(few, [few.topics.scores.name])))
    publisher.close()
    many = with_more_partitions(few)
    assert move(many, really=True) == {line: (0, 1)}
    successor = Publisher(many, "test")
    new_step(many, successor)
    successor.close()
    assert [command.action for command in commands(many)] == [Action.HOLD]
    assert [alarm.act for alarm in alarms(many)] == [Act.RAISE]
    log = read_log(many, line, None)
    assert [entry.number for entry in log if entry.act == "raise"] == [1]
    assert not gaps(log)


def test_what_cannot_be_read_is_not_forgotten_where_the_number_of_partitions_was_changed(
    kafka_bootstrap: str, unique: str
) -> None:
    """Nobody looked for it in the partition that it lay in, and its line began anew, without its alarm and its stop."""
    few = settings_for(kafka_bootstrap, unique, line_partitions=1)
    ensure_topics(few, few.topics)
    line, other = [name for name in map("line-{}".format, range(50)) if partition_of(name.encode(), 2) == 1][:2]
    send_unreadable(few, few.topics.line_state.name)
    with closing(Publisher(few, "test")) as publisher:
        publisher.publish([state_record(few, LineState(line_id=other, epoch=3))])
        many = with_more_partitions(few)
        publish(many, burst(line))
        step = AlertingStep(many, POLICIES, publisher, Metrics(), elsewhere=lambda: find_elsewhere(many))
        step.assigned([(many.topics.scores.name, partition) for partition in (0, 1)])
        do(step, list(read_to_end(many, [many.topics.scores.name])))
    assert commands(many) == []
    with pytest.raises(StateError, match=f"restore-line {line}"):
        ask(many, line, Act.ACKNOWLEDGE, actor="ada", reason="")
    with pytest.raises(StateError, match=r"line-state\[0\]@0 can't be read .* --past-unreadable"):
        move(many, really=True)
    assert move(many, really=True, past_unreadable=True) == {other: (0, 1)}


def test_the_advice_for_what_cannot_be_read_holds_where_the_number_of_partitions_was_changed(
    kafka_bootstrap: str, unique: str
) -> None:
    """`move-lines` said to restore the line, and `restore-line` that all is well: it looked in the new partition."""
    few = settings_for(kafka_bootstrap, unique, line_partitions=1)
    ensure_topics(few, few.topics)
    line = next(name for name in map("line-{}".format, range(50)) if partition_of(name.encode(), 2) == 1)
    with closing(Publisher(few, "test")) as publisher:
        stored = LineState(line_id=line, epoch=3, applied=Applied(scores=1_000))
        publisher.publish([state_record(few, stored)])
        send_unreadable(few, few.topics.line_state.name)
    many = with_more_partitions(few)
    with pytest.raises(StateError, match=f"restore-line {line}"):
        move(many, really=True)
    assert restore(many, line, really=True) is not None
    assert restore(many, line, really=True) is None
    assert move(many, really=True, past_unreadable=True) == {}
    found = read_states(many, [1])[line].state
    assert (found.epoch > 3, found.applied) == (True, Applied())  # the offsets of another partition would hide scores


def test_a_line_that_there_is_not_is_not_restored(settings: Settings) -> None:
    """A slip of the hand made a line of its own, which was then missed for ever."""
    send_unreadable(settings, settings.topics.line_state.name)
    with pytest.raises(StateError, match="nothing is known of line 'lin-1'"):
        restore(settings, "lin-1", really=True)
    publish(settings, burst("line-1", count=1))
    assert restore(settings, "line-1", really=True) is not None


@pytest.fixture
def damaged(settings: Settings, publisher: FaultyPublisher, batch: list[Incoming]) -> Incoming:
    """The state of line-1, which asks for a HOLD."""
    do(new_step(settings, publisher), batch)
    publisher.publish([state_record(settings, read_states(settings)["line-1"].state, b'{"line_id": "li')])
    return list(read_to_end(settings, [settings.topics.line_state.name]))[-1]


def test_a_line_whose_state_cannot_be_read_is_never_begun_anew(
    settings: Settings, publisher: FaultyPublisher, damaged: Incoming
) -> None:
    """By its scores, its PLC or its cameras' heartbeats: that would store an epoch below the one its PLC knows."""
    metrics, coils = Metrics(), {"type": "modbus", "host": "127.0.0.1", "block": 0, "coils": {"stop": 0}}
    line = {"actuator": coils, "on_loss": "hold-on-loss"}
    policies = Policies.model_validate({**POLICIES.model_dump(), "lines": {"line-1": line}})
    beat = heartbeat().model_copy(update={"sent_at": now()})
    step = AlertingStep(
        settings, policies, publisher, metrics,
        plant=Plant(policies, Lease(6)), pulses=lambda: {"cam-1": Pulse(beat, beat.sent_at)},
    )  # fmt: skip
    step.assigned([(settings.topics.scores.name, partition) for partition in (0, 1)])
    publish(settings, burst(first=3))
    time.sleep(TICK_S)
    do(step, list(read_to_end(settings, [settings.topics.scores.name])))
    assert list(read_to_end(settings, [settings.topics.line_state.name]))[-1] == damaged
    told = metrics.registry.get_sample_value
    assert told("andon_alerting_state_unreadable", {"line": "line-1"}) == 1
    assert told("andon_alerting_skipped_total", {"reason": "state_unreadable"}) == 6


def test_a_line_whose_state_cannot_be_read_takes_no_other_lines_watch(settings: Settings, damaged: Incoming) -> None:
    with worker(settings):
        publish(settings, [score for line in ("line-2", "line-3") for score in burst(line)])
        wait_until(lambda: {"line-2", "line-3"} <= {command.line_id for command in commands(settings)})
        assert not ask(settings, "line-2", Act.ACKNOWLEDGE, actor="ada", reason="", timeout_s=90).refused
        with pytest.raises(StateError, match="restore-line line-1"):
            ask(settings, "line-1", Act.ACKNOWLEDGE, actor="ada", reason="")


def test_a_state_that_lies_elsewhere_takes_no_other_lines_watch(settings: Settings) -> None:
    """A record that somebody wrote beside Andon, by another hash of the key, ended every worker at its start."""
    topic, header = settings.topics.line_state, ("epoch", b"7")
    wrong = 1 - partition_of(b"line-1", 2)
    stray = KafkaProducer(bootstrap_servers=settings.kafka_bootstrap)
    state = LineState(line_id="line-1", epoch=7)
    stray.send(topic.name, state.to_json(), b"line-1", headers=[header], partition=wrong).get(30)
    stray.close()
    with worker(settings):
        publish(settings, [score for line in ("line-1", "line-2", "line-3") for score in burst(line)])
        wait_until(lambda: len(commands(settings)) == 2)
    assert {command.line_id for command in commands(settings)} == {"line-2", "line-3"}
    assert [record.partition for record in states_of(settings, b"line-1")] == [wrong]
    assert move(settings, really=True) == {"line-1": (wrong, 1 - wrong)}
    with worker(settings):
        publish(settings, burst(first=10))
        wait_until(lambda: len(commands(settings)) == 3)


def test_a_copy_that_lies_elsewhere_does_not_hide_the_state_of_its_line(settings: Settings) -> None:
    """As who puts records back with a client that hashes otherwise leaves it."""
    homes = {line: partition_of(line.encode(), 2) for line in ("line-0", "line-2")}
    assert set(homes.values()) == {0, 1}  # whichever of them is read first
    with worker(settings):
        publish(settings, [score for line in homes for score in burst(line)])
        wait_for_commands(settings, 2)
    stray = KafkaProducer(bootstrap_servers=settings.kafka_bootstrap)
    for line, home in homes.items():
        newest = states_of(settings, line.encode())[-1]
        headers = list(newest.headers)
        stray.send(newest.topic, newest.value, newest.key, headers=headers, partition=1 - home).get(30)
    stray.close()
    assert find_elsewhere(settings).lines == {}


def test_a_record_that_kafka_python_cannot_read_blinds_no_line_that_was_stored_after_it(settings: Settings) -> None:
    """It ended whichever worker took its partition over, one after the other, so that nothing was watched."""
    homes = {line: partition_of(line.encode(), 2) for line in ("line-0", "line-2", "line-6")}
    assert homes["line-0"] == homes["line-6"] != homes["line-2"]
    with worker(settings):
        publish(settings, [score for line in homes for score in burst(line, count=1)])
        wait_until(lambda: read_states(settings).keys() == homes.keys())
    unreadable = Outgoing(settings.topics.line_state.name, b"line-0", b"{}", ((NotText("x"), b"1"),))
    with closing(Publisher(settings, "odd")) as publisher:
        publisher.publish([unreadable])
        publisher.publish([state_record(settings, LineState(line_id="line-6", epoch=9))])
    with worker(settings):
        publish(settings, [score for line in (*homes, "line-7") for score in burst(line, first=10)])  # a new one, too
        wait_until(lambda: len(commands(settings)) == 2)
        with pytest.raises(StateError, match="restore-line line-0"):
            ask(settings, "line-0", Act.ACKNOWLEDGE, actor="ada", reason="")
    assert {command.line_id for command in commands(settings)} == {"line-2", "line-6"}
    for line in ("line-0", "line-7"):
        assert restore(settings, line, really=True) is not None
        assert restore(settings, line, really=True) is None
    with worker(settings):
        publish(settings, burst("line-0", first=20) + burst("line-7", first=20))
        wait_until(lambda: len(commands(settings)) == 4)


def states_of(settings: Settings, line: bytes) -> list[Incoming]:
    return [record for record in read_to_end(settings, [settings.topics.line_state.name]) if record.key == line]


def test_who_is_no_member_of_the_group_any_more_gives_a_takeover_up_at_once(
    settings: Settings, publisher: FaultyPublisher, batch: list[Incoming], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only who polls joins it again, and nobody polls during a takeover."""
    do(new_step(settings, publisher), batch)
    monkeypatch.setattr(worker_module, "RECOVERY_LIMIT_S", 2)
    lease = Lease(6)
    lease.refresh = lambda: False
    step = AlertingStep(settings, POLICIES, publisher, Metrics(), lease=lease)
    with pytest.raises(Backpressure, match="has to join again first"):
        step.assigned([(settings.topics.scores.name, partition) for partition in (0, 1)])


def test_who_is_told_to_stop_amid_a_takeover_waits_for_kafka_no_longer(
    settings: Settings, publisher: FaultyPublisher, batch: list[Incoming], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Longer than a pod's grace: it was killed, and its partitions lay unwatched until the group missed it."""
    do(new_step(settings, publisher), batch)
    publisher.passes, publisher.error = DIES_BEFORE["the state"], PublishError("the broker is away", retriable=True)
    stop = threading.Event()
    step = AlertingStep(settings, POLICIES, publisher, Metrics(), stop=stop)
    threading.Timer(0.1, stop.set).start()
    monkeypatch.setattr(worker_module, "RECOVERY_LIMIT_S", 3600)  # a test has 180 s
    with pytest.raises(Backpressure):
        step.assigned([(settings.topics.scores.name, partition) for partition in (0, 1)])


def test_a_broker_that_hangs_while_a_takeover_reads_is_waited_for(
    settings: Settings, batch: list[Incoming], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(KafkaConsumer, "poll", lambda *_, **__: {})
    with pytest.raises(KafkaUnavailableError, match="nothing came from") as silent:
        list(read_to_end(settings, [settings.topics.scores.name], timeout_s=0.5))
    assert silent.value.may_pass
