"""The programs in docs/subscribe.md tell a board of every alarm and stop, as they stand there."""

import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from alerting.running import alarms, burst, commands, environment, publish, wait_for_commands, worker
from support.stream import wait_until

from pipeline.kafka.publisher import Publisher
from pipeline.kafka.reading import read_to_end
from pipeline.kafka.records import Outgoing
from pipeline.settings import Settings
from workers.local.kafka_jars import kafka_classpath
from workers.local.process import ChildProcess

pytestmark = pytest.mark.services

PAGE = Path(__file__).parents[2] / "docs" / "subscribe.md"


@pytest.fixture
def held(settings: Settings) -> Settings:
    """A factory whose line was held, with all that was told of it."""
    with worker(settings):
        publish(settings, burst())
        wait_for_commands(settings, 1)
    return settings


def sample(language: str, settings: Settings) -> str:
    """The one program in this language; only its names are those of a factory that shares its broker."""
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return re.sub(r'"(alarms|line-commands|maintenance-board)', rf'"{settings.andon_topic_prefix}\1', found)


@contextmanager
def printing(argv: list[str], settings: Settings, folder: Path) -> Iterator[ChildProcess]:
    """A program that would go on for ever."""
    child = ChildProcess("sample", argv, folder / "printed", folder, environment(settings))
    try:
        yield child
    finally:
        child.kill()


def printed(child: ChildProcess, of: str) -> list[str]:
    assert child.running, child.log_tail()
    return [line for line in child.log.read_text().splitlines() if line.startswith(of)]


def repeat(settings: Settings) -> None:
    """Each alarm and command comes a second time, as after a worker that died before its commit."""
    topics = settings.topics
    again = list(read_to_end(settings, [topics.alarms.name, topics.line_commands.name]))
    publisher = Publisher(settings, "test")
    publisher.publish(Outgoing(record.topic, record.key, record.value) for record in again)
    publisher.close()


def test_the_python_program_tells_of_each_alarm_and_command_once(held: Settings, tmp_path: Path) -> None:
    program = tmp_path / "board.py"
    program.write_text(sample("python", held))
    told = len(alarms(held)) + len(commands(held))
    with printing([sys.executable, str(program)], held, tmp_path) as board:
        wait_until(lambda: len(printed(board, "line-1 ")) == told)
        repeat(held)
        with worker(held):
            publish(held, burst("line-2"))
            wait_until(lambda: any(" HOLD, void after " in line for line in printed(board, "line-2 ")))
        first = printed(board, "line-1 ")
        assert len(first) == told
        assert any("defects UNACK_ACTIVE: raise by andon, " in line for line in first), first
        assert any(" HOLD, void after " in line for line in first), first


@pytest.mark.skipif(shutil.which("javac") is None, reason="no JDK, whose compiler the program needs")
def test_the_java_program_prints_each_record(held: Settings, tmp_path: Path) -> None:
    program = tmp_path / "Alarms.java"
    program.write_text(sample("java", held))
    told = len(alarms(held)) + len(commands(held))
    argv = [str(shutil.which("java")), "-cp", kafka_classpath(print), str(program)]
    with printing(argv, held, tmp_path) as board:
        wait_until(lambda: len(printed(board, held.andon_topic_prefix)) == told)
        hold = printed(board, f"{held.topics.line_commands.name} line-1 {{")
        assert len(hold) == len(commands(held))
        assert '"action":"HOLD"' in hold[0]
