"""Runs alerting workers against a real broker and reads what they published."""

import os
import subprocess
import sys
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import yaml
from alerting.factory import score
from kafka import KafkaAdminClient
from support.stream import wait_until

from pipeline.events import Alarm, LineCommand, Operation, Score, Verdict, now
from pipeline.kafka.admin import TopicError, check_topics
from pipeline.kafka.publisher import Publisher
from pipeline.kafka.reading import read_to_end
from pipeline.kafka.records import Outgoing
from pipeline.settings import Settings
from workers.alerting import service
from workers.alerting.policy import Policies
from workers.alerting.recovery import StoredLine, read_stored

# Long ages and silences: a slow machine is not the question of any test here.
_FILE = {
    "defaults": {
        "k": 3, "n": 5, "action": "HOLD", "max_age_s": 300, "silent_after_s": 600,
        "not_decidable": {"limit": 3, "of_last": 4},
    }
}  # fmt: skip
POLICY_YAML = yaml.safe_dump(_FILE)
POLICIES = Policies.model_validate(_FILE)
DOOMED = Path(__file__).with_name("doomed_worker.py")
ANDON = [sys.executable, "-c", "from workers.cli import main; main()"]
_ACTS = {"ack", "reset", "shelve", "unshelve"}


@contextmanager
def worker(settings: Settings, policies: Policies = POLICIES) -> Iterator[None]:
    """A worker on a thread. Its error, if any, is raised at the end."""
    stop, errors = threading.Event(), []

    def run() -> None:
        try:
            service.run(settings, policies, stop)
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(90)
        assert not thread.is_alive()
    if errors:
        raise errors[0]


@contextmanager
def process(arguments: Sequence[str], settings: Settings) -> Iterator[subprocess.Popen[str]]:
    """A process that has ended when the block has."""
    child = subprocess.Popen(
        list(arguments), env=environment(settings), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        yield child
    finally:
        child.kill()
        child.communicate(timeout=60)


def environment(settings: Settings) -> Mapping[str, str]:
    return os.environ | {
        "KAFKA_BOOTSTRAP": settings.kafka_bootstrap,
        "ANDON_TOPIC_PREFIX": settings.andon_topic_prefix,
        "ANDON_FRAME_PARTITIONS": str(settings.andon_frame_partitions),
        "ANDON_LINE_PARTITIONS": str(settings.andon_line_partitions),
        "PYTHONPATH": str(DOOMED.parents[1]),
        "USER": "ada",
    }


def andon(settings: Settings, *arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
    if arguments[0] == "alarms" and arguments[1] in _ACTS and "--timeout-s" not in arguments:
        arguments += ("--timeout-s", "90")  # a busy machine may take longer than a person waits
    return subprocess.run(
        [*ANDON, *arguments], env={**environment(settings), **changes}, capture_output=True, text=True, timeout=120
    )


def publish(settings: Settings, events: Sequence[Score | Operation]) -> None:
    topics = settings.topics
    with closing(Publisher(settings, "test")) as publisher:
        publisher.publish(
            Outgoing(
                (topics.scores if isinstance(event, Score) else topics.operations).name,
                event.line_id.encode(),
                event.to_json(),
            )
            for event in events
        )


def burst(line: str = "line-1", first: int = 0, count: int = 3, verdict: Verdict = Verdict.NOT_OK) -> list[Score]:
    return [score(first + i, verdict, line=line, camera=f"cam-of-{line}", captured_at=now()) for i in range(count)]


def with_more_partitions(settings: Settings) -> Settings:
    """The same factory, after somebody has doubled those of its lines."""
    more = settings.model_copy(update={"andon_line_partitions": 2 * settings.andon_line_partitions})
    admin = KafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap)
    by_line = [topic.name for topic in more.topics if topic.key == "line_id"]
    admin.create_partitions(dict.fromkeys(by_line, more.andon_line_partitions))
    admin.close()
    wait_until(lambda: not topics_differ(more))
    return more


def topics_differ(settings: Settings) -> bool:
    try:
        check_topics(settings, settings.topics)
    except TopicError:
        return True
    return False


def read_states(settings: Settings, partitions: Collection[int] | None = None) -> dict[str, StoredLine]:
    """line → its state. Raises StateError for one that can't be read."""
    stored = read_stored(settings, partitions)
    for error in stored.broken.values():
        raise error
    return stored.lines


def alarms(settings: Settings) -> list[Alarm]:
    return [Alarm.from_json(record.value) for record in read_to_end(settings, [settings.topics.alarms.name])]


def commands(settings: Settings) -> list[LineCommand]:
    topic = settings.topics.line_commands.name
    return [LineCommand.from_json(record.value) for record in read_to_end(settings, [topic])]


def wait_for_commands(settings: Settings, count: int) -> list[LineCommand]:
    wait_until(lambda: len(commands(settings)) >= count)
    return commands(settings)
