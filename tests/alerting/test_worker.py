"""The worker against a real broker: one HOLD an episode, whoever dies, moves or comes late."""

import sys
import threading
import time
import urllib.error
import urllib.request
from datetime import timedelta
from pathlib import Path

import pytest
from alerting.factory import heartbeat, operation, score
from alerting.running import (
    ANDON,
    DOOMED,
    POLICIES,
    POLICY_YAML,
    alarms,
    burst,
    commands,
    process,
    publish,
    read_states,
    wait_for_commands,
    worker,
)
from kafka.errors import KafkaError, KafkaTimeoutError
from support.stream import settings_for, wait_until

from pipeline import groups
from pipeline.events import CHECK, Act, Action, AlarmKind, AlarmState, Verdict, now
from pipeline.kafka.admin import ensure_topics
from pipeline.kafka.connection import KafkaUnavailableError
from pipeline.kafka.consumer_groups import committed_offsets
from pipeline.kafka.publisher import Publisher
from pipeline.kafka.records import Outgoing
from pipeline.settings import Settings
from workers.alerting import service
from workers.alerting.recovery import Elsewhere, find_elsewhere
from workers.local.kafka_broker import KafkaBroker

pytestmark = pytest.mark.services

LINES = ("line-1", "line-2", "line-3", "line-4")


def committed(settings: Settings) -> int:
    try:
        return sum(committed_offsets(settings, settings.group(groups.ALERTING)).values())
    except KafkaError as error:
        if not error.retriable:
            raise
        return -1  # a broker that has just started looks for its coordinators


def test_a_burst_stops_the_line_once_and_what_is_garbled_is_skipped(settings: Settings) -> None:
    garbled = Outgoing(settings.topics.scores.name, b"line-1", b'{"not": "a score"}')
    publisher = Publisher(settings, "test")
    publisher.publish([garbled])
    publisher.close()
    publish(settings, burst(count=10))
    with worker(settings):
        wait_until(lambda: committed(settings) == 11)
    (command,) = commands(settings)
    (alarm,) = alarms(settings)
    assert (command.action, command.line_id, command.evidence.k) == (Action.HOLD, "line-1", 3)
    assert (alarm.kind, alarm.state) == (AlarmKind.DEFECTS, AlarmState.UNACK_ACTIVE)


def test_frames_of_andon_check_are_on_no_line(settings: Settings) -> None:
    """The tenth `helm test` stopped a line that is none, if the policy's defaults stop for frames nobody judged."""
    publish(settings, burst(CHECK, count=10))
    publish(settings, burst())
    with worker(settings):
        wait_until(lambda: committed(settings) == 13)
    assert [command.line_id for command in commands(settings)] == ["line-1"]
    assert [alarm.line_id for alarm in alarms(settings)] == ["line-1"]


def test_a_worker_killed_right_after_the_hold_leaves_one_hold_and_a_latched_alarm(settings: Settings) -> None:
    publish(settings, burst())
    with process([sys.executable, str(DOOMED)], settings) as doomed:
        doomed.wait(90)
    assert doomed.returncode == -9
    assert committed(settings) < 3  # the batch of the stop is not
    with worker(settings):
        wait_until(lambda: committed(settings) == 3)
        publish(settings, burst(first=3))
        wait_until(lambda: committed(settings) == 6)
    assert [command.action for command in commands(settings)] == [Action.HOLD]
    assert [alarm.act for alarm in alarms(settings)] == [Act.RAISE]
    assert [entry.alarm.kind for entry in read_states(settings)["line-1"].state.alarms] == [AlarmKind.DEFECTS]


def test_lines_that_move_between_workers_are_stopped_once(settings: Settings) -> None:
    publish(settings, [event for line in LINES for event in burst(line, count=2)])
    second = worker(settings)
    with worker(settings):
        wait_until(lambda: committed(settings) == 8)
        second.__enter__()
        publish(settings, [event for line in LINES[:2] for event in burst(line, first=2, count=1)])
        wait_for_commands(settings, 2)
    publish(settings, [event for line in LINES for event in burst(line, first=3)])
    try:
        wait_until(lambda: committed(settings) == 22)
    finally:
        second.__exit__(None, None, None)
    assert sorted(command.line_id for command in commands(settings)) == list(LINES)
    assert sorted(alarm.line_id for alarm in alarms(settings)) == list(LINES)


def test_a_late_backlog_is_an_alarm_and_no_command(settings: Settings) -> None:
    an_hour_ago = now() - timedelta(hours=1)
    publish(settings, [score(n, captured_at=an_hour_ago) for n in range(20)])
    with worker(settings):
        wait_until(lambda: committed(settings) == 20)
        assert [alarm.kind for alarm in alarms(settings)] == [AlarmKind.LATE]
        assert commands(settings) == []
        publish(settings, [score(20 + n, captured_at=now()) for n in range(3)])
        wait_for_commands(settings, 1)


def test_a_camera_that_never_had_a_score_is_missed_on_a_line_that_nobody_named(settings: Settings) -> None:
    """Its address or its recipe was wrong from the first day on; no policy names its line, and no PLC is there."""
    policies = POLICIES.model_copy(update={"defaults": POLICIES.defaults.model_copy(update={"silent_after_s": 2})})
    publisher = Publisher(settings, "test")
    with worker(settings, policies):

        def beats() -> bool:
            beat = heartbeat(0).model_copy(update={"line_id": "line-9", "sent_at": now(), "source_connected": False})
            key = f"{beat.camera_id}:{beat.boot_id}".encode()
            publisher.publish([Outgoing(settings.topics.heartbeats.name, key, beat.to_json())])
            return bool(alarms(settings))

        wait_until(beats)
    publisher.close()
    alarm = alarms(settings)[0]
    assert (alarm.kind, alarm.line_id) == (AlarmKind.CAMERA_SILENT, "line-9")


def test_a_restart_keeps_the_window_and_the_latch(settings: Settings) -> None:
    publish(settings, burst(count=2))
    with worker(settings):
        wait_until(lambda: committed(settings) == 2)
    publish(settings, burst(first=2, count=1))
    with worker(settings):
        wait_for_commands(settings, 1)
    with worker(settings):
        publish(settings, [operation(Act.RESET)])
        wait_until(lambda: alarms(settings)[-1].act is Act.NOTE)
        publish(settings, [operation(Act.ACKNOWLEDGE), operation(Act.RESET)])
        assert wait_for_commands(settings, 2)[-1].action is Action.UNHOLD_PERMITTED
    assert read_states(settings)["line-1"].state.alarms == ()


def test_a_worker_that_starts_before_kafka_waits_is_well_and_ready_only_with_its_lines(
    own_kafka: KafkaBroker, unique: str, tmp_path: Path, unused_port: int
) -> None:
    """Kubernetes lets one that ends at its start wait longer each time: lines went unwatched for minutes afterwards.
    And it ends the next of those that judge as soon as one of the new is ready: with a wrong login all went that way.
    """
    settings = settings_for(own_kafka.bootstrap, unique)
    ensure_topics(settings, settings.topics)
    publish(settings, burst())
    own_kafka.kill()
    (tmp_path / "policies.yaml").write_text(POLICY_YAML)
    arguments = ["--policies", str(tmp_path / "policies.yaml"), "--metrics-port", str(unused_port)]
    with process([*ANDON, "alerting", "run", *arguments], settings) as running:
        assert running.stdout
        assert any("waiting for Kafka" in line for line in running.stdout), "it ended before it had given up once"
        with urllib.request.urlopen(f"http://127.0.0.1:{unused_port}/healthz", timeout=60) as answer:
            assert answer.status == 200
        assert readiness(unused_port) == (503, "it has taken on no line yet: its log says what it waits for\n")
        own_kafka.start()
        wait_until(lambda: readiness(unused_port) == (200, "well\n"), 120)
        assert [command.action for command in wait_for_commands(settings, 1)] == [Action.HOLD]
        running.terminate()
        running.communicate(timeout=60)
    assert running.returncode == 0


def readiness(port: int) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_a_broker_that_goes_away_while_a_start_looks_at_the_lines_is_waited_for(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[Settings] = []

    def look(settings: Settings) -> Elsewhere:
        looked.append(settings)
        if len(looked) == 1:
            raise KafkaUnavailableError("no Kafka broker answers") from KafkaTimeoutError("Unable to bootstrap")
        return find_elsewhere(settings)

    monkeypatch.setattr(service, "find_elsewhere", look)
    with worker(settings):
        publish(settings, burst())
        assert [command.action for command in wait_for_commands(settings, 1)] == [Action.HOLD]
    assert len(looked) == 2


def test_a_worker_told_to_stop_waits_for_kafka_no_longer() -> None:
    stop = threading.Event()
    threading.Timer(1, stop.set).start()
    service.run(settings_for("127.0.0.1:1", "x"), POLICIES, stop)  # or it waits for ever


def test_a_broker_that_is_away_delays_and_doubles_nothing(own_kafka: KafkaBroker, unique: str) -> None:
    settings = settings_for(own_kafka.bootstrap, unique)
    ensure_topics(settings, settings.topics)
    with worker(settings):
        publish(settings, burst(count=2, verdict=Verdict.OK))
        wait_until(lambda: committed(settings) == 2)
        own_kafka.kill()
        time.sleep(1)
        own_kafka.start()
        publish(settings, burst(first=2))
        wait_until(lambda: committed(settings) == 5)
    assert [command.action for command in commands(settings)] == [Action.HOLD]


def test_metrics_tell_what_was_decided(settings: Settings, tmp_path: Path, unused_port: int) -> None:
    policies = tmp_path / "policies.yaml"
    policies.write_text(POLICY_YAML)
    publish(settings, burst())
    arguments = ["alerting", "run", "--policies", str(policies), "--metrics-port", str(unused_port)]
    with process([*ANDON, *arguments], settings) as running:
        wait_for_commands(settings, 1)

        def told() -> str:
            with urllib.request.urlopen(f"http://127.0.0.1:{unused_port}/metrics", timeout=60) as page:
                text: str = page.read().decode()
            return text

        # What was published is counted a moment later.
        wait_until(lambda: 'andon_alerting_commands_total{action="HOLD"} 1.0' in told())
        text = told()
        running.terminate()
        running.communicate(timeout=60)
    assert running.returncode == 0
    assert 'andon_alerting_scores_total{verdict="NOT_OK"} 3.0' in text
    assert 'andon_alerting_alarms_total{kind="defects"} 1.0' in text
    assert "andon_alerting_late_total 0.0" in text
    assert "andon_alerting_idle_seconds" in text
