"""`andon alarms …` as a person uses it."""

import json
import signal

import pytest
from alerting.factory import operation, score
from alerting.running import ANDON, alarms, andon, burst, process, publish, wait_for_commands, worker
from support.stream import make_anew, wait_until

from pipeline.events import Act, AlarmState, Verdict, now
from pipeline.kafka.reading import read_to_end
from pipeline.settings import Settings
from workers.alerting.policy import Policies

pytestmark = pytest.mark.services


def test_an_alarm_is_listed_acknowledged_and_reset(settings: Settings) -> None:
    with worker(settings):
        publish(settings, burst())
        wait_for_commands(settings, 1)

        listed = andon(settings, "alarms", "list")
        assert "line-1 cam-of-line-1  defects UNACK_ACTIVE" in listed.stdout
        assert f"(andon map {alarms(settings)[-1].evidence.frame_ids[-1]})" in listed.stdout

        early = andon(settings, "alarms", "reset", "--line", "line-1", "--reason", "mended")
        assert early.returncode == 1
        assert "reset refused: acknowledge the alarm before its reset" in early.stdout

        seen = andon(settings, "alarms", "ack", "--line", "line-1", "--reason", "on my way")
        assert (seen.returncode, seen.stderr) == (0, "")
        assert "defects ACK_ACTIVE  acknowledge by ada: on my way" in seen.stdout

        done = andon(settings, "alarms", "reset", "--line", "line-1", "--actor", "ben", "--reason", "nozzle cleaned")
        assert done.returncode == 0
        assert "defects NORMAL  reset by ben: nozzle cleaned" in done.stdout

        again = andon(settings, "alarms", "reset", "--line", "line-1", "--reason", "mended")
        assert again.returncode != 0
        assert "line 'line-1' has no alarm; no line has one" in again.stderr
    assert [alarm.state for alarm in alarms(settings)][-1] is AlarmState.NORMAL


def test_who_resets_a_line_that_another_has_just_reset_is_told_so(settings: Settings) -> None:
    """It said that nobody answered, and that the request would be carried out later."""
    with worker(settings):
        publish(settings, burst())
        wait_for_commands(settings, 1)
        assert andon(settings, "alarms", "ack", "--line", "line-1").returncode == 0
    publish(settings, [operation(Act.RESET, asked_at=now())])
    arguments = ["alarms", "reset", "--line", "line-1", "--reason", "mended", "--timeout-s", "120"]
    with process([*ANDON, *arguments], settings) as second:
        wait_until(lambda: len(list(read_to_end(settings, [settings.topics.operations.name]))) == 3)
        with worker(settings):
            told, _ = second.communicate(timeout=150)
    assert (second.returncode, "reset refused: no alarm stands on this line" in told) == (1, True), told


@pytest.mark.parametrize("reason", [(), ("--reason", " ")])
def test_nothing_is_reset_without_saying_why(settings: Settings, reason: tuple[str, ...]) -> None:
    """The page asks for it, and the audit log is where somebody looks for what was done about the cause."""
    refused = andon(settings, "alarms", "reset", "--line", "line-1", *reason)
    assert refused.returncode == 2
    assert "--reason" in refused.stderr
    assert list(read_to_end(settings, [settings.topics.operations.name])) == []


def test_an_act_on_a_kind_moves_the_alarm_of_each_camera(settings: Settings) -> None:
    """Of three silent cameras it acknowledged one, and answered as if that were all."""
    policies = Policies.model_validate({"defaults": {"k": 3, "n": 5, "action": "HOLD", "silent_after_s": 2}})
    names = {f"cam-{number}" for number in range(3)}
    publish(settings, [score(0, Verdict.OK, camera=name, captured_at=now()) for name in names])
    with worker(settings, policies):
        wait_until(lambda: {alarm.camera_id for alarm in alarms(settings)} == names)
        seen = andon(settings, "alarms", "ack", "--line", "line-1", "--kind", "camera_silent", "--reason", "power cut")
        assert (seen.returncode, seen.stdout.count("ACK_ACTIVE  acknowledge by ada: power cut")) == (0, 3)
        again = andon(settings, "alarms", "ack", "--line", "line-1", "--kind", "camera_silent")
        assert (again.returncode, again.stdout.count("acknowledge refused: already acknowledged")) == (1, 3)


def test_an_answer_is_found_in_a_topic_that_was_made_anew(settings: Settings) -> None:
    """The act was done, and whoever had asked heard that no worker answers: it was looked for behind the end."""
    with worker(settings):
        publish(settings, burst())
        wait_for_commands(settings, 1)
        for told in (2, 3):
            publish(settings, [operation(Act.RESET, asked_at=now())])  # is refused: nobody has acknowledged
            wait_until(lambda told=told: len(alarms(settings)) == told)
        make_anew(settings, settings.topics.alarms)
        seen = andon(settings, "alarms", "ack", "--line", "line-1", "--reason", "on my way")
    assert (seen.returncode, seen.stderr) == (0, "")
    assert "acknowledge by ada: on my way" in seen.stdout


def test_nobody_answers_while_no_worker_runs(settings: Settings) -> None:
    publish(settings, burst())
    with worker(settings):
        wait_for_commands(settings, 1)
    asked = andon(settings, "alarms", "ack", "--line", "line-1", "--timeout-s", "2")
    assert asked.returncode == 1
    assert "no answer in 2 s" in asked.stderr
    nameless = andon(settings, "alarms", "ack", "--line", "line-1", USER=" ")
    assert nameless.returncode != 0
    assert "who you are" in nameless.stderr


def test_tail_shows_each_change_and_ends_when_told(settings: Settings) -> None:
    with worker(settings):
        publish(settings, burst("line-1") + burst("line-2"))
        wait_for_commands(settings, 2)
    with process([*ANDON, "alarms", "tail", "--since-beginning", "--line", "line-2"], settings) as tail:
        assert tail.stdout is not None
        assert "line-2 cam-of-line-2  defects UNACK_ACTIVE  raise by andon: 3 of the last" in tail.stdout.readline()
        tail.send_signal(signal.SIGINT)
        assert tail.communicate(timeout=60)[0] == ""
    assert tail.returncode == 0
    with process([*ANDON, "alarms", "tail", "--since-beginning", "--json"], settings) as tail:
        assert tail.stdout is not None
        assert json.loads(tail.stdout.readline())["kind"] == "defects"
