"""The file that makes brokers start in a third of the time: made once, used by all, missed by none."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from workers.local import kafka_broker
from workers.local.errors import ServiceError
from workers.local.kafka_broker import KafkaBroker
from workers.local.kafka_classes import class_options
from workers.local.process import ChildProcess

Train = Callable[[tuple[str, ...], Path], None]


@pytest.fixture
def classpath(tmp_path: Path) -> str:
    jars = [tmp_path / "a.jar", tmp_path / "b.jar"]
    for jar in jars:
        jar.write_bytes(b"jar")
    return os.pathsep.join(map(str, jars))


def writing(runs: list[Path]) -> Train:
    def train(options: tuple[str, ...], folder: Path) -> None:
        runs.append(folder)
        Path(options[0].removeprefix("-XX:AOTCacheOutput=")).write_bytes(b"classes")

    return train


def file_of(options: tuple[str, ...]) -> Path:
    return Path(options[0].removeprefix("-XX:AOTCache="))


@pytest.mark.unit
def test_it_is_made_once_for_the_same_jars_and_options(classpath: str) -> None:
    runs: list[Path] = []
    first = class_options(classpath, ["-Xmx1m"], writing(runs), print)
    assert file_of(first).read_bytes() == b"classes"
    assert class_options(classpath, ["-Xmx1m"], writing(runs), print) == first
    assert len(runs) == 1
    assert not runs[0].exists(), "what the broker wrote meanwhile is gone"


@pytest.mark.unit
def test_other_jars_or_options_need_another_one_and_the_old_one_goes(classpath: str) -> None:
    runs: list[Path] = []
    old = file_of(class_options(classpath, ["-Xmx1m"], writing(runs), print))
    other = file_of(class_options(classpath, ["-Xmx2m"], writing(runs), print))
    Path(classpath.split(os.pathsep)[1]).write_bytes(b"another jar")
    newest = file_of(class_options(classpath, ["-Xmx2m"], writing(runs), print))
    assert len({old, other, newest}) == len(runs) == 3
    assert [path.exists() for path in (old, other, newest)] == [False, False, True]


@pytest.mark.unit
def test_without_it_a_broker_starts_all_the_same(classpath: str) -> None:
    def fail(options: tuple[str, ...], folder: Path) -> None:
        raise ServiceError("no room")

    assert class_options(classpath, [], fail, print) == ()
    assert class_options(classpath, [], lambda options, folder: None, print) == ()
    assert not [path for path in Path(classpath.split(os.pathsep)[0]).parent.iterdir() if path.suffix != ".jar"]


@pytest.mark.unit
def test_only_the_run_is_watched_and_not_the_formatting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Java writes a file at the end of each watched process: 7 s of a core, and too long on a busy machine."""
    commands: list[list[str]] = []

    def told(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        return subprocess.CompletedProcess(command, 0)

    def started(name: str, command: list[str], *_: object, **__: object) -> ChildProcess:
        commands.append(command)
        raise ServiceError("enough")

    monkeypatch.setattr(kafka_broker, "kafka_classpath", lambda say: "kafka.jar")
    monkeypatch.setattr(kafka_broker.subprocess, "run", told)
    monkeypatch.setattr(kafka_broker, "ChildProcess", started)
    with pytest.raises(ServiceError, match="enough"):
        kafka_broker._run_once(("-XX:AOTCacheOutput=classes.aot",), tmp_path)
    format_, run = commands
    assert "format" in format_
    assert "-XX:AOTCacheOutput=classes.aot" not in format_
    assert "-XX:AOTCacheOutput=classes.aot" in run


@pytest.mark.unit
def test_formatting_that_takes_too_long_is_told_as_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What Java printed until then is pages long, and no fault of the disk."""

    def late(command: list[str], *, timeout: float, **_: object) -> None:
        raise subprocess.TimeoutExpired(command, timeout, output=b"Picked up JAVA_TOOL_OPTIONS: ")

    monkeypatch.setattr(kafka_broker, "kafka_classpath", lambda say: "kafka.jar")
    monkeypatch.setattr(kafka_broker.subprocess, "run", late)
    with pytest.raises(ServiceError, match=r"did not format .* in 60 s\. Is the machine very busy\?") as caught:
        kafka_broker._run_once((), tmp_path)
    assert "Picked up" not in str(caught.value)


@pytest.mark.services
@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="only Linux tells what a process has mapped")
def test_a_broker_has_it_mapped(own_kafka: KafkaBroker) -> None:
    command = Path(f"/proc/{own_kafka.pid}/cmdline").read_text(encoding="utf-8").split("\0")
    (path,) = (part.removeprefix("-XX:AOTCache=") for part in command if part.startswith("-XX:AOTCache="))
    assert path in Path(f"/proc/{own_kafka.pid}/maps").read_text(encoding="utf-8"), "Java refused the file"
