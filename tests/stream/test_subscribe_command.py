"""`andon subscribe` and `andon alarms tail` end when they are told to, whatever becomes of what they print."""

import array
import fcntl
import os
import subprocess
import sys
import termios
import time
import uuid
from contextlib import closing

import pytest
from alerting.factory import Line
from support.stream import wait_until

from pipeline.events import Alarm, Operation, now
from pipeline.events.alarm import Act
from pipeline.kafka.publisher import Publisher
from pipeline.kafka.records import Outgoing
from pipeline.settings import Settings

pytestmark = pytest.mark.services

PIPE_BYTES = 64 * 1024


def waiting_in(pipe: int) -> int:
    found = array.array("i", [0])
    fcntl.ioctl(pipe, termios.FIONREAD, found)
    return found[0]


ASKED = Operation(
    operation_id=uuid.uuid4(), line_id="line-1", act=Act.ACKNOWLEDGE, actor="a", reason="r" * 900, asked_at=now()
)
ALARM = Line().burst().alarms[0].model_copy(update={"reason": "r" * 900})


@pytest.mark.parametrize(
    ("event", "command"),
    [
        (ASKED, "subscribe operations --from-beginning"),
        (ALARM, "alarms tail --since-beginning"),
    ],
)
def test_it_ends_though_its_reader_takes_nothing(event: Operation | Alarm, command: str, settings: Settings) -> None:
    """Behind a pager, or a program that hangs, it had to be killed."""
    topic = settings.topics.alarms.name if event is ALARM else settings.topics.operations.name
    with closing(Publisher(settings, "test")) as publisher:
        publisher.publish([Outgoing(topic, b"line-1", event.to_json())] * 100)
    reader, writer = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "workers", *command.split()],
        env=os.environ
        | {"KAFKA_BOOTSTRAP": settings.kafka_bootstrap, "ANDON_TOPIC_PREFIX": settings.andon_topic_prefix},
        stdout=writer,
    )
    os.close(writer)
    try:
        wait_until(lambda: waiting_in(reader) > PIPE_BYTES * 3 // 4, what="a full pipe")
        time.sleep(1)  # what no page of the pipe has room for stands still now
        process.terminate()
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        os.close(reader)
