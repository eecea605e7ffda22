"""The whole alerting worker with a PLC: what reaches the line, and what does not."""

import itertools
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta

import pytest
from alerting.factory import score
from alerting.plc_peers import wait_for
from alerting.running import alarms, burst, commands, publish, read_states, wait_for_commands, worker
from support.stream import make_anew, wait_until

from pipeline.events import Act, Action, AlarmKind, AlarmState, CommandReply, Outcome, Verdict, now
from pipeline.kafka.publisher import Publisher, PublishError
from pipeline.kafka.reading import read_to_end
from pipeline.kafka.records import Outgoing
from pipeline.settings import Settings
from workers.alerting.core.state import LineState
from workers.alerting.people.asking import ask
from workers.alerting.people.audit_log import gaps, read_log
from workers.alerting.policy import Policies
from workers.alerting.service import run
from workers.alerting.upkeep.restoring import restore
from workers.local.ports import free_ports
from workers.plc.ladder import HOLD, RUN, Ladder
from workers.plc.station import Station

pytestmark = pytest.mark.services


@pytest.fixture
def plc() -> Iterator[tuple[Ladder, int]]:
    (port,) = free_ports(1)
    ladder = Ladder("line-1", watchdog_s=2)
    with Station([ladder], modbus_port=port):
        yield ladder, port


def policies(port: int, **changes: object) -> Policies:
    coils = {"stop": 0, "run_permit": 1, "held": 8}
    actuator = {"type": "modbus", "host": "127.0.0.1", "port": port, "block": 0, "coils": coils, "cycle_s": 0.1}
    return Policies.model_validate(
        {
            "defaults": {"k": 3, "n": 5, "action": "HOLD", "max_age_s": 300, "silent_after_s": 600, **changes},
            "lines": {"line-1": {"actuator": actuator, "on_loss": "hold-on-loss"}},
        }
    )


def acknowledge_and_reset(settings: Settings) -> None:
    for act in (Act.ACKNOWLEDGE, Act.RESET):
        assert not ask(settings, "line-1", act, actor="ada", reason="", timeout_s=90).refused


def stop_and_reset(settings: Settings, ladder: Ladder) -> None:
    publish(settings, burst())
    wait_for_commands(settings, 1)
    acknowledge_and_reset(settings)
    wait_until(lambda: read_states(settings)["line-1"].state.proved and not ladder.stop)


def replies(settings: Settings) -> list[CommandReply]:
    records = read_to_end(settings, [settings.topics.command_replies.name])
    return [CommandReply.from_json(record.value) for record in records]


def test_a_burst_is_stopped_at_the_plc_proved_and_freed_by_people_alone(
    settings: Settings, plc: tuple[Ladder, int]
) -> None:
    ladder, port = plc
    with worker(settings, policies(port)):
        publish(settings, burst(count=1, verdict=Verdict.OK))
        wait_for(lambda: ladder.permit and ladder.inputs.heartbeat > 2, "heartbeats once a frame is scored")
        ladder.press_start()
        publish(settings, burst(first=1))
        wait_until(lambda: any(reply.outcome is Outcome.ACCEPTED for reply in replies(settings)))
        assert (ladder.held, ladder.running) == (True, False)
        acknowledge_and_reset(settings)
        wait_for(lambda: not ladder.stop, "the release")
        assert (ladder.held, ladder.running) == (True, False)
    (stop, *_) = replies(settings)
    (command, _) = commands(settings)
    assert (stop.command_id, stop.action, stop.epoch) == (command.command_id, Action.HOLD, command.epoch)
    assert "stop=1" in (stop.value_read_back or "")
    assert stop.captured_at <= stop.issued_at <= stop.observed_at


def hold(settings: Settings, port: int) -> LineState:
    """By a worker that has ended since, as it was stored once the PLC had confirmed."""
    with worker(settings, policies(port)):
        publish(settings, burst())
        wait_until(lambda: any(line.state.proved for line in read_states(settings).values()))
        return read_states(settings)["line-1"].state


def test_a_line_that_is_put_on_trial_while_it_is_held_is_freed_by_its_reset(
    settings: Settings, plc: tuple[Ladder, int]
) -> None:
    ladder, port = plc
    hold(settings, port)
    with worker(settings, policies(port, shadow=True)):
        wait_for(lambda: ladder.inputs.epoch == 2, "the second worker")
        assert ladder.stop
        acknowledge_and_reset(settings)
        wait_for(lambda: not ladder.stop, "the release")
        publish(settings, burst(first=10))
        wait_until(lambda: any(read_to_end(settings, [settings.topics.shadow_commands.name])))
        assert not ladder.stop
    assert AlarmKind.PLC not in [alarm.kind for alarm in alarms(settings)]


def test_a_stop_that_another_set_while_no_worker_ran_is_left_where_an_old_release_was_confirmed_long_ago(
    settings: Settings, plc: tuple[Ladder, int]
) -> None:
    ladder, port = plc
    with worker(settings, policies(port)):
        stop_and_reset(settings, ladder)
    ladder.write(replace(ladder.inputs, command=HOLD))
    with worker(settings, policies(port)):
        wait_until(lambda: alarms(settings)[-1].kind is AlarmKind.PLC)
        assert "not by an order that Andon knows" in alarms(settings)[-1].reason
        assert ladder.stop
        ladder.write(replace(ladder.inputs, command=RUN))
        wait_until(lambda: alarms(settings)[-1].act is Act.CLEAR)
        wait_for(lambda: ladder.inputs.epoch == 2, "Andon's own word")


def test_a_restored_line_that_was_free_takes_no_stop_away_that_its_lost_states_knew_of(
    settings: Settings, plc: tuple[Ladder, int]
) -> None:
    ladder, port = plc
    with worker(settings, policies(port)):
        stop_and_reset(settings, ladder)
        free = read_states(settings)["line-1"].state
        publish(settings, burst(first=10))
        wait_for(lambda: ladder.stop, "the second stop")
    topic, header = settings.topics.line_state, ("epoch", str(free.epoch).encode())
    make_anew(settings, topic)
    publisher = Publisher(settings, "test")
    for value in (free.to_json(), free.to_json()[:-50]):
        publisher.publish([Outgoing(topic.name, b"line-1", value, (header,))])
    publisher.close()
    restored = restore(settings, "line-1", really=True)
    assert restored is not None
    assert restored.state.level is None
    assert restored.state.raised >= len({alarm.alarm_id for alarm in alarms(settings)})  # the next has an id of its own
    with worker(settings, policies(port)):
        wait_until(lambda: alarms(settings)[-1].kind is AlarmKind.PLC)
        assert "not by an order that Andon knows" in alarms(settings)[-1].reason
        assert ladder.stop
    assert gaps(read_log(settings, "line-1", None)) == []  # numbers go on after those of the lost states


def test_a_line_of_which_no_state_can_be_read_any_more_is_held_until_its_reset(
    settings: Settings, plc: tuple[Ladder, int]
) -> None:
    """Once Kafka had compacted the good ones away, all that was left was to make line-state anew, for every line."""
    ladder, port = plc
    held = hold(settings, port)
    topic, header = settings.topics.line_state, ("epoch", str(held.epoch).encode())
    make_anew(settings, topic)
    publisher = Publisher(settings, "test")
    publisher.publish([Outgoing(topic.name, b"line-1", held.to_json()[:-50], (header,))])
    publisher.close()
    restored = restore(settings, "line-1", really=True)
    assert restored is not None
    assert restored.written_at is None
    assert (restored.state.stop_of, restored.state.stop_moved) == (held.stop_of, True)
    with worker(settings, policies(port)):
        wait_for(lambda: ladder.inputs.epoch > held.epoch, "the successor")
        assert ladder.stop
        acknowledge_and_reset(settings)
        wait_for(lambda: not ladder.stop, "the release")
    assert [command.action for command in commands(settings)] == [Action.HOLD, Action.UNHOLD_PERMITTED]
    assert gaps(read_log(settings, "line-1", None)) == []


def test_a_line_whose_plc_is_taken_out_of_the_policy_while_it_is_held_is_told_of(
    settings: Settings, plc: tuple[Ladder, int]
) -> None:
    ladder, port = plc
    hold(settings, port)
    without = Policies.model_validate({"defaults": {"k": 3, "n": 5, "action": "HOLD", "silent_after_s": 600}})
    with worker(settings, without):
        wait_until(lambda: alarms(settings)[-1].kind is AlarmKind.PLC)
        assert "a reset will not take it back" in alarms(settings)[-1].reason
        acknowledge_and_reset(settings)
        # Once more, for who was not told: the next shift saw no alarm, and a line that its PLC held.
        wait_until(lambda: alarms(settings)[-1].act is Act.CLEAR)
        *_, again, cleared = alarms(settings)
        assert f"took nothing back at modbus://127.0.0.1:{port}/1" in again.reason
        assert (again.act, cleared.state) == (Act.RAISE, AlarmState.UNACK_RTN)
        assert ladder.stop
        assert not ask(settings, "line-1", Act.ACKNOWLEDGE, actor="bob", reason="", timeout_s=90).refused
        wait_until(lambda: not any(line.state.alarms for line in read_states(settings).values()))


def test_a_stop_that_stands_at_a_plc_that_the_policy_has_replaced_is_told_although_the_new_one_is_away(
    settings: Settings, plc: tuple[Ladder, int]
) -> None:
    """All that was told was that nothing answers at the new one; after the reset the old one held its line on."""
    ladder, port = plc
    hold(settings, port)
    (nobody,) = free_ports(1)
    with worker(settings, policies(nobody)):
        wait_until(lambda: alarms(settings)[-1].kind is AlarmKind.PLC)
        reason = alarms(settings)[-1].reason
        acknowledge_and_reset(settings)
    assert ladder.stop
    assert f"modbus://127.0.0.1:{nobody}/1 can't be worked with" in reason
    assert f"stands at modbus://127.0.0.1:{port}/1, which the policy named before" in reason


def test_a_plc_that_the_policy_names_no_more_is_told_of_once_where_its_line_was_free(
    settings: Settings, plc: tuple[Ladder, int]
) -> None:
    """Plain coils keep the run permit that was written last, and whoever changed the policy heard nothing of it."""
    ladder, port = plc
    with worker(settings, policies(port)):
        wait_for(lambda: ladder.inputs.epoch == 1, "the first write")
    without = Policies.model_validate({"defaults": {"k": 3, "n": 5, "action": "HOLD", "silent_after_s": 600}})
    for epoch in (2, 3):
        with worker(settings, without):
            wait_until(lambda at=epoch: read_states(settings)["line-1"].state.epoch == at)  # type: ignore[misc]
            wait_until(lambda: [alarm.act for alarm in alarms(settings)] == [Act.RAISE, Act.CLEAR])
    (raised, _) = alarms(settings)
    assert f"names no PLC for this line, where it named modbus://127.0.0.1:{port}/1 (register 3)" in raised.reason


class EventsLate(Publisher):
    """Takes states, and no events while `away` is set: as a broker whose leaders of those partitions are away, which
    one embedded broker can't be made to be."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, "late")
        self.away = threading.Event()
        self._states = settings.topics.line_state.name

    def publish(self, records: Sequence[Outgoing], timeout_s: float = 25) -> None:
        if self.away.is_set() and any(record.topic != self._states for record in records):
            raise PublishError("the leader of this partition is away", retriable=True)
        super().publish(records, timeout_s=timeout_s)


def test_a_stop_whose_events_come_out_late_is_told_and_can_be_reset(
    settings: Settings, plc: tuple[Ladder, int]
) -> None:
    ladder, port = plc
    late, stop = EventsLate(settings), threading.Event()
    lines = policies(port, max_age_s=8)
    thread = threading.Thread(target=run, args=(settings, lines, stop), kwargs={"publisher": late})
    thread.start()
    try:
        publish(settings, burst(count=1, verdict=Verdict.OK))
        wait_until(lambda: any(line.state.cameras for line in read_states(settings).values()))
        late.away.set()
        firsts = itertools.count(1, 3)

        def stopped() -> bool:
            """One burst after the other: of a single one a busy machine may hear when it is too old to stop a line."""
            publish(settings, burst(first=next(firsts)))
            return ladder.held

        wait_until(stopped)
        (level,) = [line.state.last_command for line in read_states(settings).values()]
        assert level
        wait_for(lambda: now() > level.expires_at, "the end of the stop's time")
        late.away.clear()
        wait_until(lambda: any(reply.outcome is Outcome.ACCEPTED for reply in replies(settings)))
        assert [command.action for command in commands(settings)] == [Action.HOLD]
        acknowledge_and_reset(settings)
        wait_for(lambda: not ladder.stop, "the release")
    finally:
        stop.set()
        thread.join(90)
    assert not thread.is_alive()


def test_a_ten_minute_backlog_stops_no_line(settings: Settings, plc: tuple[Ladder, int]) -> None:
    ladder, port = plc
    old = now() - timedelta(minutes=10)
    publish(settings, [score(n, captured_at=old + timedelta(seconds=n)) for n in range(20)])
    with worker(settings, policies(port)):
        wait_until(lambda: [alarm.kind for alarm in alarms(settings)] == [AlarmKind.LATE])
        wait_for(lambda: ladder.inputs.epoch > 0, "the first write")
        publish(settings, burst(first=20, line="line-2"))
        wait_for_commands(settings, 1)
        assert HOLD not in [written.command for written in ladder.written]
        assert [command.line_id for command in commands(settings)] == ["line-2"]


@pytest.mark.parametrize("shadow", [False, True])
def test_a_worker_that_takes_dead_cameras_over_lets_no_line_run_but_one_on_trial(
    settings: Settings, plc: tuple[Ladder, int], shadow: bool
) -> None:
    """Where `shadow` was to stop nothing, the run permit fell all the same, before the first frame of a trial."""
    ladder, port = plc
    publish(settings, [score(0, Verdict.OK, captured_at=now() - timedelta(minutes=1))])
    with worker(settings, policies(port, silent_after_s=3, shadow=shadow)):
        wait_until(lambda: [alarm.kind for alarm in alarms(settings)] == [AlarmKind.CAMERA_SILENT])
    assert {(written.permit, written.heartbeat) for written in ladder.written} == {(shadow, 0)}
    assert ladder.running is shadow


@contextmanager
def good_frames(settings: Settings, first: int) -> Iterator[None]:
    """One after the other: of a single one a busy machine may hear when it is too old to prove anything."""
    end, publisher = threading.Event(), Publisher(settings, "camera")

    def shoot() -> None:
        for sequence in itertools.count(first):
            event = score(sequence, Verdict.OK, camera="cam-of-line-1", captured_at=now())
            publisher.publish([Outgoing(settings.topics.scores.name, b"line-1", event.to_json())])
            if end.wait(0.2):
                return

    camera = threading.Thread(target=shoot)
    camera.start()
    try:
        yield
    finally:
        end.set()
        camera.join(30)
        publisher.close()


def test_a_line_that_is_watched_no_more_loses_its_heartbeat_and_is_held_by_its_own_plc(
    settings: Settings, plc: tuple[Ladder, int]
) -> None:
    ladder, port = plc

    def last(kind: AlarmKind) -> Act | None:
        return next((alarm.act for alarm in reversed(alarms(settings)) if alarm.kind is kind), None)

    with worker(settings, policies(port, silent_after_s=3)):
        with good_frames(settings, 0):
            wait_for(lambda: ladder.inputs.heartbeat > 2 and ladder.permit, "heartbeats", 90)
        wait_for(lambda: ladder.watchdog_lost and ladder.held, "the PLC's own hold")
        wait_until(lambda: last(AlarmKind.CAMERA_SILENT) is Act.RAISE)
        wait_for(lambda: not ladder.permit, "the end of the run permit")
        assert not ladder.stop
        assert commands(settings) == []
        with good_frames(settings, 1_000):
            wait_for(lambda: not ladder.watchdog_lost and ladder.permit, "the heartbeat's return", 90)
            wait_until(lambda: last(AlarmKind.CAMERA_SILENT) is Act.CLEAR)
            assert (ladder.held, ladder.running) == (True, False)
            # All is well but for the line, which stands until somebody comes.
            wait_until(lambda: last(AlarmKind.PLC) is Act.RAISE)
            ladder.press_reset()
            wait_until(lambda: last(AlarmKind.PLC) is Act.CLEAR)
