"""`andon subscribe`, `andon alarms tail` and `andon plc run` end when they are told to, whatever becomes of what they
print."""

import array
import fcntl
import itertools
import os
import subprocess
import sys
import termios
import time
import uuid
from collections.abc import Callable
from contextlib import closing, suppress

import pytest
from alerting.factory import Line
from pymodbus import ModbusException
from pymodbus.client import ModbusTcpClient
from support.stream import wait_until

from pipeline.events import Alarm, Operation, now
from pipeline.events.alarm import Act
from pipeline.kafka.publisher import Publisher
from pipeline.kafka.records import Outgoing
from pipeline.settings import Settings
from workers.local.ports import free_ports

pytestmark = pytest.mark.services


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
    ends_behind_a_full_pipe(command, settings)


def test_a_simulated_plc_ends_though_its_reader_takes_nothing(settings: Settings) -> None:
    (port,) = free_ports(1)
    epochs = itertools.count(1)

    def write() -> None:
        """Each order is a line of what it prints."""
        with ModbusTcpClient("127.0.0.1", port=port, retries=0) as client, suppress(ModbusException):
            for epoch in itertools.islice(epochs, 50):
                client.write_registers(0, [0, epoch, 0, 0, 1], device_id=1)

    ends_behind_a_full_pipe(f"plc run --plain --line line-1 --modbus-port {port}", settings, write, pipe_bytes=4096)


def ends_behind_a_full_pipe(
    command: str, settings: Settings, feed: Callable[[], None] = lambda: None, pipe_bytes: int = 64 * 1024
) -> None:
    def full() -> bool:
        feed()
        return waiting_in(reader) > pipe_bytes * 3 // 4

    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, pipe_bytes)
    process = subprocess.Popen(
        [sys.executable, "-m", "workers", *command.split()],
        env=os.environ
        | {"KAFKA_BOOTSTRAP": settings.kafka_bootstrap, "ANDON_TOPIC_PREFIX": settings.andon_topic_prefix},
        stdout=writer,
    )
    os.close(writer)
    try:
        wait_until(full, what="a full pipe")
        time.sleep(1)  # what no page of the pipe has room for stands still now
        process.terminate()
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        os.close(reader)
