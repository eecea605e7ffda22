"""Two workers, one line, one of them frozen and woken: never two stops, never an old epoch at the PLC."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from alerting.plc_peers import wait_for
from alerting.running import ANDON, burst, commands, environment, publish

from pipeline.events import Act, Action, CommandReply, Outcome
from pipeline.kafka.reading import read_to_end
from pipeline.settings import Settings
from workers.alerting.people.asking import ask
from workers.local.ports import free_ports
from workers.local.process import ChildProcess
from workers.plc.ladder import Ladder
from workers.plc.station import Station

pytestmark = pytest.mark.services

FREEZING = Path(__file__).with_name("freezing_worker.py")


@pytest.fixture
def ladder() -> Ladder:
    return Ladder("line-1", watchdog_s=60)


@pytest.fixture
def policies(ladder: Ladder, tmp_path: Path) -> Iterator[Path]:
    (port,) = free_ports(1)
    actuator = {"type": "modbus", "host": "127.0.0.1", "port": port, "block": 0, "coils": {"stop": 0, "held": 8}}
    line = {"actuator": actuator | {"cycle_s": 0.1}, "on_loss": "run-with-alarm"}
    file = tmp_path / "policies.yaml"
    defaults = {"k": 3, "n": 5, "action": "HOLD", "max_age_s": 600}
    file.write_text(yaml.safe_dump({"defaults": defaults, "lines": {"line-1": line}}))
    with Station([ladder], modbus_port=port):
        yield file


@contextmanager
def process(name: str, argv: list[str], settings: Settings, folder: Path) -> Iterator[ChildProcess]:
    child = ChildProcess(name, argv, folder / f"{name}.log", Path.cwd(), dict(environment(settings)))
    try:
        yield child
    finally:
        if child.running:
            os.kill(child.pid, signal.SIGCONT)
            child.stop(10)


def give_free(settings: Settings) -> None:
    for act in (Act.ACKNOWLEDGE, Act.RESET):
        answer = ask(settings, "line-1", act, actor="ada", reason="seen to", timeout_s=90)
        assert answer.changes
        assert not answer.refused


def sleeping(child: ChildProcess) -> bool:
    return Path(f"/proc/{child.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "T"


@pytest.mark.parametrize("asleep", ["at rest", "between its last look and the write"])
def test_a_worker_that_sleeps_and_wakes_stops_nothing(
    asleep: str, settings: Settings, policies: Path, ladder: Ladder, tmp_path: Path
) -> None:
    run = [*ANDON, "alerting", "run", "--policies", str(policies)]
    at_rest = asleep == "at rest"
    first_argv = run if at_rest else [sys.executable, str(FREEZING), str(policies)]
    with process("first", first_argv, settings, tmp_path) as first:
        wait_for(lambda: ladder.inputs.epoch > 0, "the first worker's epoch", 90)
        mine = ladder.inputs.epoch
        if at_rest:
            first.pause()
        publish(settings, burst())
        wait_for(lambda: sleeping(first), "the first worker's sleep")
        with process("second", run, settings, tmp_path):
            wait_for(lambda: ladder.held, "the second worker's stop", 90)
            assert ladder.inputs.epoch > mine
            give_free(settings)
            wait_for(lambda: not ladder.stop, "the release")
            os.kill(first.pid, signal.SIGCONT)
            if not at_rest:
                wait_for(lambda: ladder.refused > 0, "the late write, refused")
            time.sleep(3)  # long enough for a driver that does not know to write thirty times
    epochs = [written.epoch for written in ladder.written]
    assert epochs == sorted(epochs)
    assert ladder.stops == 1
    assert ladder.refused == (0 if at_rest else 1), "; ".join(event.text for event in ladder.events)
    # The one that slept may publish its command once more: the same id, which every reader takes for the same.
    published = {command.command_id: command.action for command in commands(settings)}
    assert list(published.values()) == [Action.HOLD, Action.UNHOLD_PERMITTED]
    replies = read_to_end(settings, [settings.topics.command_replies.name])
    outcomes = [(reply.action, reply.outcome) for reply in (CommandReply.from_json(r.value) for r in replies)]
    assert outcomes.count((Action.HOLD, Outcome.ACCEPTED)) == 1
